"""Success rates in the README and docs are those of the raw outcomes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs/results.md").read_text()

HEADLINE = {
    "small (`mvp-tiny-sim`, 2.9 M parameters), one scale": "small-1x-dropout",
    "small, **S²** (224, 448)": "small-s2-dropout",
    "larger (`mvp-small-sim`, 21.7 M), one scale": "large-1x-dropout",
    "none: no vision (one seed, of 100)": "blind",
    "the scripted expert (one run, of 100)": "expert",
}
"""Row of the README's table -> its arm in `docs/results/table10/`."""

ARMS = {
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
"""Row of docs/results.md -> its arms, in the order of the columns."""


def cells_of(page: str, row: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [cell for cell in (cell.strip() for cell in line.strip("|").split("|")[1:]) if cell]


def outcomes(arm: str) -> tuple[str, int, int]:
    """Successes at the fixed starts by training seed, at all random starts, and how many those were."""
    files = sorted((ROOT / "docs/results/table10").glob(f"{arm}_seed*.json"))
    results = [json.loads(file.read_text()) for file in files]
    further = [result["random_starts"] for result in results]
    fixed = ", ".join(str(result["successes"]) for result in results)
    return fixed, sum(f["successes"] for f in further), sum(f["trials"] for f in further)


@pytest.mark.parametrize("row", HEADLINE)
def test_the_table_of_the_readme(row: str) -> None:
    fixed, further, trials = outcomes(HEADLINE[row])
    assert cells_of(README, row) == [fixed, str(further)]
    assert trials == (100 if "of 100" in row else 300)


@pytest.mark.parametrize("row", ARMS)
def test_the_table_of_the_results(row: str) -> None:
    expected = []
    for arm in ARMS[row]:
        fixed, further, trials = outcomes(arm)
        expected += [fixed, f"{further}/{trials}"]
    assert cells_of(RESULTS, row) == expected


def test_rates_beside_the_name_of_a_raw_file() -> None:
    rows = re.findall(
        r"^\|.*?\| (\d+)/16 \| (\d+)/100 .*`(docs/results/[\w/-]+\.json)` \|$", RESULTS, re.MULTILINE
    )
    assert len(rows) >= 3
    for fixed, further, name in rows:
        result = json.loads((ROOT / name).read_text())
        assert (result["successes"], result["random_starts"]["successes"]) == (int(fixed), int(further)), name
        assert (result["trials"], result["random_starts"]["trials"]) == (16, 100), name


def test_what_the_loop_is_expected_to_give() -> None:
    result = json.loads((ROOT / "docs/results/full120.json").read_text())
    said = re.search(r"Expect (\d+) of the 16 fixed starts and (\d+) of 100 random ones", README)
    assert said is not None
    assert (result["successes"], result["random_starts"]["successes"]) == tuple(map(int, said.groups()))
