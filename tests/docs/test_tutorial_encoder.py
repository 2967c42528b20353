"""The tutorial on encoders, from nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import run_tutorial


@pytest.mark.slow
def test_the_tutorial_on_encoders(tmp_path: Path) -> None:
    run_tutorial("4_encoder", tmp_path)
    probe = json.loads((tmp_path / "runs/eyes/probe.json").read_text())
    assert probe and (tmp_path / "runs/eyes/advice/advice.html").exists()
