"""The README's loop, run as it stands with smaller numbers."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
SMALLER = {
    "record": ["episodes=3"],
    "encode": [],
    "train": ["steps=20"],
    "evaluate": ["starts=1", "random_starts=1", "max_steps=5"],
}


@pytest.mark.slow
def test_the_loop_of_the_readme(tmp_path: Path) -> None:
    section = README.split("## The loop", 1)[1]
    block = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]
    commands = [
        shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("s2robot")
    ]
    assert [command[0] for command in commands] == list(SMALLER)
    for command in commands:
        smaller = [option for option in command if not option.startswith(("episodes=", "random_starts="))]
        words = [sys.executable, "-m", "s2robot.cli", *smaller, *SMALLER[command[0]]]
        subprocess.run(words, cwd=tmp_path, check=True)
    result = json.loads((tmp_path / "runs/full/evaluation/evaluation.json").read_text())
    assert result["trials"] == 1 and result["random_starts"]["trials"] == 1
