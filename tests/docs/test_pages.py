"""What the README and docs name is there, and their commands are ones that s2robot takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, commands_of

from s2robot.commands import FAMILIES, find_command
from s2robot.config import compose
from s2robot.config.options import options_of, read_options
from s2robot.config.overrides import place, undash
from s2robot.config.targets import locate

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
]
FOLDERS = "s2robot|envs|demos|configs|tests|docs"


RUN_BY_ITS_OWN_TEST = ("extending.md",)
COMMANDS = sorted(
    {(p.name, command) for p in PAGES if p.name not in RUN_BY_ITS_OWN_TEST for command in commands_of(p)}
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*\w/?)`", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    linked = set(re.findall(r"\]\(((?!https?://|#)[^)#]+)", text))
    assert {name for name in linked if not (page.parent / name).exists()} == set()  # raw files too


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value if " " in value else None)
def test_the_command_is_one_that_s2robot_takes(page: str, command: str) -> None:
    words = shlex.split(command)[1:]
    if "--config-dir" in words or "--help" in words:
        pytest.skip("run by the test of its page")
    name = " ".join(words[: 2 if words[0] in FAMILIES else 1])
    found = find_command(name)
    overrides = place(undash(words[len(name.split()) :], lambda option: True), found.places)
    read_options(options_of(locate(found.target)), compose(name, overrides))


def test_the_site_builds_strictly_and_holds_every_page() -> None:
    """A dead link, a dead anchor or an unknown name fails."""
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    navigation = (ROOT / "zensical.toml").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    assert {page for page in pages if f'"{page}"' not in navigation} == set()
