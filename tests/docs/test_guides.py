"""The commands of the guides, run in the order of their pages with smaller numbers."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, commands_of

SMALLER = {
    "record": ["episodes=2", "workers=0"],
    "train": ["steps=2"],
    "pretrain": ["states=2", "steps=2", "batch_size=2", "source.image_size=448"],
    "evaluate": ["starts=1", "max_steps=3", "workers=0", "overwrite=true"],
    "deploy": ["starts=1", "force=true", "robot.max_steps=20"],
}
SMALLER_JOBS = {"train": ["steps=2"], "evaluate": ["starts=1", "random_starts=1", "max_steps=3", "workers=0"]}
IF_GIVEN = {"random_starts": "random_starts=1"}
NEEDS = {"metaworld.md": "metaworld"}  # a package that the set-up does not bring
NOT_HERE = {  # what a command needs that a test has not: what is run instead
    r"teleop=(?!none)": "a person: tests/teleop/ drives the page and the devices",
    r"robot=franka|server=": "an arm or a second machine: tests/robot/ and the tutorial of the simulated arm",
    r"reproduce metaworld5 arms=": "hours: tests/evaluation/test_metaworld5.py",
    r"pusht": "gym-pusht, which the set-up does not bring: tests/envs/test_pusht.py",
    r"score=offline": "demos that the training held out, of which two leave none: tests/evaluation/",
    r"doctor --encoders": "the network, for all of them: tests/vision/",
    r"^s2robot serve": "runs until it is stopped: tests/serve/",
    r"--config-dir|policy\.trunk=gru|options\.separator": "files of its page: the test of its page",
}
STAND_INS = ("runs/quickstart", "runs/table10", "runs/a", "runs/b")  # made by the README's loop in small


def smaller(command: str) -> list[str]:
    words = shlex.split(command.replace("PATH", "runs/full/demos", 1).replace("out=PATH", "out=runs/path"))
    verb, options = words[1], words[2:]
    if verb == "sweep":
        return ["sweep", *(_smaller_jobs(option) for option in options)]
    changed = SMALLER.get(verb, [])
    names = tuple(f"{option.split('=')[0]}=" for option in changed)
    options = [IF_GIVEN.get(option.split("=")[0], option) for option in options]
    return [verb, *(option for option in options if not option.startswith(names)), *changed]


def _smaller_jobs(option: str) -> str:
    kind, _, value = option.partition("=")
    if kind not in SMALLER_JOBS:
        return option
    names = "|".join(o.split("=")[0] for o in SMALLER_JOBS[kind])
    kept = re.sub(rf'"?({names})=[^",\]]*"?,?', "", value).strip("[]").rstrip(",")
    return f"{kind}=[{','.join(filter(None, [kept, *SMALLER_JOBS[kind]]))}]"


def run(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "s2robot.cli", *words], cwd=folder, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's loop in small, and copies of it by the names that the guides use."""
    made = tmp_path_factory.mktemp("guides")
    for command in commands_of(ROOT / "README.md"):
        run(made, *smaller(command))
    for name in STAND_INS:
        shutil.copytree(made / "runs/full", made / name)
    shutil.copytree(made / "runs/full/demos", made / "runs/table10/demos/standard")
    for name in ("by_hand", "corrections"):
        shutil.copytree(made / "runs/full/demos", made / "runs" / name)
    run(made, "train", "demos=runs/full/demos", "out=runs/policy", *SMALLER["train"])
    return made


PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if commands_of(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_guide_run(page: Path, folder: Path) -> None:
    pytest.importorskip(NEEDS.get(page.name, "s2robot"))
    for command in commands_of(page):
        if not any(re.search(pattern, command) for pattern in NOT_HERE):
            run(folder, *smaller(command))
