"""The README's loop and its Python, run as they stand with smaller numbers."""

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


def test_the_python_of_the_readme(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    for stated, smaller in {
        "runs/quickstart": str(toy_checkpoint),
        "cube_pick": "toy",
        "random_starts=20": "starts=2, random_starts=1",
    }.items():
        assert stated in block
        block = block.replace(stated, smaller)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["0", "1", "2", "3"]
    assert "of 2 95 %:" in lines[-1]
