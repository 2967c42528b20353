"""The tutorial on an own task, from nothing to a success rate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import run_tutorial


@pytest.mark.slow
def test_the_tutorial_on_an_own_task(tmp_path: Path) -> None:
    run_tutorial("1_own_task", tmp_path)
    result = json.loads((tmp_path / "runs/evaluation/evaluation.json").read_text())
    assert (result["task"]["name"], result["trials"]) == ("Reach", 40)
    assert result["success_rate"] > 0.8
    assert (tmp_path / "runs/evaluation/report.html").exists()
