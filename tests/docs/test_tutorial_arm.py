"""The tutorial on an arm, from nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import run_tutorial

from s2robot.data.store import DemoStore
from s2robot.reports.result import read_evaluation


@pytest.mark.slow
def test_the_tutorial_on_an_arm(tmp_path: Path) -> None:
    run_tutorial("3_own_arm", tmp_path)
    deployed = tmp_path / "runs/arm/deployed"
    assert (tmp_path / "runs/arm/calibration/front.png").exists()
    assert len(DemoStore.open(deployed / "demos").ids()) == read_evaluation(deployed)["trials"] == 16
