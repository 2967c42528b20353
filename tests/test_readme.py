"""The README names what is there, and nothing that is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
NAMED = set(re.findall(r"`((?:s2robot|envs|demos|configs|tests|docs)/[a-z0-9_./-]*)`", README))
LINKED = set(re.findall(r"\]\(((?!https?://)[^)]+)\)", README))


def test_every_module_has_its_line() -> None:
    modules = (path for package in ("s2robot", "envs", "demos") for path in (ROOT / package).rglob("*.py"))
    paths = {path.relative_to(ROOT).as_posix() for path in modules if path.name != "__init__.py"}
    assert paths - NAMED == set()


def test_what_it_names_is_there() -> None:
    assert NAMED and LINKED
    assert {name for name in NAMED | LINKED if not (ROOT / name).exists()} == set()


def test_success_rates_are_those_of_the_raw_files() -> None:
    rows = re.findall(
        r"^\|.*?\| (\d+)/16 \| (\d+)/100 .*`(docs/results/\w+\.json)` \|$", README, re.MULTILINE
    )
    assert len(rows) >= 2
    for fixed, further, name in rows:
        result = json.loads((ROOT / name).read_text())
        assert (result["successes"], result["extra"]["successes"]) == (int(fixed), int(further)), name
        assert (result["trials"], result["extra"]["trials"]) == (16, 100), name
