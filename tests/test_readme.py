"""The README names what is there, and nothing that is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
NAMED = set(re.findall(r"`((?:s2robot|envs|demos|configs|tests|docs)/[a-z0-9_./-]*)`", README))
LINKED = set(re.findall(r"\]\(((?!https?://)[^)]+)\)", README))


def test_what_it_names_is_there() -> None:
    assert NAMED and LINKED
    assert {name for name in NAMED | LINKED if not (ROOT / name).exists()} == set()


def test_success_rates_are_those_of_the_raw_files() -> None:
    rows = re.findall(
        r"^\|.*?\| (\d+)/16 \| (\d+)/100 .*`(docs/results/[\w/-]+\.json)` \|$", README, re.MULTILINE
    )
    assert len(rows) >= 3
    for fixed, further, name in rows:
        result = json.loads((ROOT / name).read_text())
        assert (result["successes"], result["random_starts"]["successes"]) == (int(fixed), int(further)), name
        assert (result["trials"], result["random_starts"]["trials"]) == (16, 100), name


FIRST_SCREEN = {
    "`mvp-tiny-sim`": ("small-1x", "small-1x-dropout"),
    "`mvp-tiny-sim`, S² (224, 448)": ("small-s2", "small-s2-dropout"),
    "`mvp-tiny-sim`, as many channels, no second scale": ("small-wide",),
    "`mvp-small-sim`": ("large-1x", "large-1x-dropout"),
    "`mvp-small-sim`, S²": ("large-s2",),
    "`mvp-tiny-sim`, S² of frames rendered at 224 px": ("small-s2-from224",),
    "`mvp-small-sim`, the same frames": ("large-1x-from224",),
    "the ViT of tiny, untrained, S²": ("random-s2",),
    "none: no vision": ("blind",),
    "none: no vision, given the cube's position": ("oracle",),
    "the scripted expert, who knows where the cube is": ("expert",),
}
"""Row -> its arms of `docs/results/table10/`, in the order of the columns."""


@pytest.mark.parametrize("row", FIRST_SCREEN)
def test_the_first_screen_is_that_of_the_raw_outcomes(row: str) -> None:
    line = next(line for line in README.splitlines() if line.startswith(f"| {row} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    expected = []
    for arm in FIRST_SCREEN[row]:
        files = sorted((ROOT / "docs/results/table10").glob(f"{arm}_seed*.json"))
        results = [json.loads(file.read_text()) for file in files]
        further = [result["random_starts"] for result in results]
        expected.append(", ".join(str(result["successes"]) for result in results))
        expected.append(f"{sum(f['successes'] for f in further)}/{sum(f['trials'] for f in further)}")
    assert [cell for cell in cells if cell] == expected
