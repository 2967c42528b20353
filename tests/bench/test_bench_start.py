"""How soon `record` has its first demo and `evaluate` its first rollout."""

import json
from pathlib import Path

import pytest
from toy_loop import refusal, s2robot


def test_it_needs_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "bench start needs checkpoint=PATH" in refusal(capsys, "bench", "start", f"out={tmp_path / 'new'}")


@pytest.mark.slow
def test_what_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = (f"out={tmp_path / 'start.json'}", f"checkpoint={tmp_path}", "start.rounds=1")
    said = refusal(capsys, "bench", "start", *given)
    assert "evaluate checkpoint=" in said and "failed: s2robot evaluate: " in said


@pytest.mark.slow
def test_a_first_demo_comes_before_the_command_ends(toy_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    assert s2robot("bench", "start", f"out={out}", f"checkpoint={toy_checkpoint}", "start.rounds=1") == 0
    seconds = json.loads(out.read_text())["seconds"]
    assert {name: len(found) for name, found in seconds.items()} == {
        "help": 1,
        "record_first_demo": 1,
        "evaluate_one_step": 1,
    }
    assert 0 < seconds["help"][0] < seconds["record_first_demo"][0]
