"""One command measures encode, train, rollout and serve, a file each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_loop import TRAIN, refusal, s2robot

PARTS = ("encode", "train", "rollout", "serve")


def test_it_needs_demos_and_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "bench", "all", f"out={tmp_path / 'new'}", "demos=runs/demos")
    assert "bench all needs demos=PATH, a demo store, and checkpoint=PATH" in said


def test_it_refuses_before_it_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "serve.json").write_text("{}")
    given = (f"out={tmp_path}", "demos=runs/demos", "checkpoint=runs/policy")
    assert "serve.json exists already" in refusal(capsys, "bench", "all", *given)


@pytest.mark.slow
def test_each_part_writes_a_file(toy_store: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    given = (f"demos={toy_store}", f"checkpoint={toy_checkpoint}", f"out={out}", f"scratch={tmp_path}")
    small = ("encode.frames=2", "encode.rounds=1", "encode.control_steps=2", "encode.sizes=[[32]]")
    small += ("train.windows=16", "train.steps=2", "rollout.starts=2", "serve.requests=5")
    options = [o for o in TRAIN if not o.startswith(("steps=", "threads="))]
    training = "training=[" + ",".join(f'"{option}"' for option in options) + "]"
    assert s2robot("bench", "all", *given, *small, training) == 0
    results = {part: json.loads((out / f"{part}.json").read_text()) for part in PARTS}
    assert results["encode"]["rows"] and results["train"]["from_cache"]["steps_per_second"] > 0
    assert results["rollout"]["rollouts"] == 2 and results["train"]["device"] == "cpu"
    assert 0 < results["serve"]["answer_ms_median"] <= results["serve"]["answer_ms_p99"]
