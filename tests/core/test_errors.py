"""The message of a user's mistake."""

from __future__ import annotations

from s2robot.core.errors import unknown


def test_a_near_miss_is_told_beside_all_that_exists() -> None:
    message = str(unknown("camera", "frnt", ["wrist", "front"]))
    assert message == "unknown camera 'frnt': did you mean 'front'? valid: wrist, front"


def test_what_is_near_to_nothing_gets_the_list_alone() -> None:
    assert str(unknown("pooling", "zzz", ["cls"])) == "unknown pooling 'zzz': valid: cls"
    assert str(unknown("episode", 7, [])) == "unknown episode '7': valid: (none)"
