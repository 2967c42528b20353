"""The message of a user's mistake."""

from __future__ import annotations

from s2robot.core.errors import unknown


def test_a_near_miss_is_told_beside_all_that_exists() -> None:
    message = str(unknown("camera", "frnt", ["wrist", "front"]))
    assert message == "unknown camera 'frnt': did you mean 'front'? valid: wrist, front"


def test_what_is_near_to_nothing_gets_the_list_alone() -> None:
    assert str(unknown("pooling", "zzz", ["cls"])) == "unknown pooling 'zzz': valid: cls"
    assert str(unknown("episode", 7, [])) == "unknown episode '7': valid: (none)"


def test_of_many_names_the_nearest_few_are_listed() -> None:
    names = [f"policy.option_{i}" for i in range(30)] + ["encoder.sizes", "lr"]
    said = str(unknown("option", "sizes", names, "s2robot train --help"))
    assert said == "unknown option 'sizes': did you mean 'encoder.sizes'? s2robot train --help lists all 32"
    assert str(unknown("option", "sizes", ["lr"], "s2robot train --help")).endswith("valid: lr")
