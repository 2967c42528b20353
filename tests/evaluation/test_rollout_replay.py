"""One rollout of an evaluation once more: the same to the last bit, or said to be another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_loop import refusal, s2robot

from s2robot.utils.video import read_mp4


@pytest.fixture(scope="module")
def evaluated(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    options = ("starts=2", "random_starts=1", "max_steps=4", "seed=5", "workers=0", "perturbation=dropped")
    assert s2robot("evaluate", f"checkpoint={toy_checkpoint}", f"out={out}", *options) == 0
    return out


def altered(evaluated: Path, out: Path, **outcome: Any) -> Path:
    """A copy whose first position says something else."""
    evaluation = json.loads((evaluated / "evaluation.json").read_text())
    evaluation["rollouts"][0] |= outcome
    evaluation["successes"] = sum(rollout["success"] for rollout in evaluation["rollouts"])
    out.write_text(json.dumps(evaluation))
    return out


@pytest.mark.parametrize("index", [0, 16])
def test_a_rollout_is_the_same_again(
    evaluated: Path, index: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = evaluated / "evaluation.json"
    assert s2robot("evaluate", "--replay", file, "--index", index, f"out={tmp_path}") == 0
    said = capsys.readouterr().out
    assert f"rollout {index}: " in said and "4 steps: as recorded, bit for bit" in said
    assert len(read_mp4(tmp_path / f"rollout_{index}.mp4")) == 4
    assert {path.name for path in tmp_path.iterdir()} == {f"rollout_{index}.mp4"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "another start, another rollout"),
        ({"success": True, "steps": 3}, "success True, steps 3"),
        ({"digests": {"model": "a", "start": None, "rollout": "b"}}, "another model, another start, another"),
    ],
)
def test_another_rollout_is_told(
    evaluated: Path,
    changes: dict[str, Any],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = altered(evaluated, tmp_path / "altered.json", **changes)
    assert s2robot("evaluate", f"replay={file}", "index=0") == 1
    assert f"not as recorded: {told}" in capsys.readouterr().out


def test_an_evaluation_without_hashes_is_compared_by_what_it_says(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = json.loads((evaluated / "evaluation.json").read_text())
    for outcome in evaluation["rollouts"]:
        del outcome["digests"]
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    assert s2robot("evaluate", f"replay={tmp_path}", "index=1") == 0
    assert "as recorded (without hashes of every bit)" in capsys.readouterr().out


def test_mistakes_are_one_line(
    evaluated: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "index is missing: give index=N, one of 0 to 1, 16" in refusal(
        capsys, "evaluate", f"replay={evaluated}"
    )
    assert "index 2 was not evaluated" in refusal(capsys, "evaluate", f"replay={evaluated}", "index=2")
    assert "no evaluation at" in refusal(capsys, "evaluate", f"replay={tmp_path}", "index=0")
    (tmp_path / "b.json").write_text("{}")
    assert "b.json has schema none: expected 2" in refusal(
        capsys, "evaluate", f"replay={tmp_path / 'b.json'}", "index=0"
    )
    other = Path(shutil.copytree(toy_checkpoint, tmp_path / "policy"))
    (other / "stats.json").write_text((other / "stats.json").read_text() + " ")
    given = (f"replay={evaluated}", "index=0", f"checkpoint={other}")
    assert "is another checkpoint than that of the evaluation" in refusal(capsys, "evaluate", *given)
    assert "checkpoint is missing: give checkpoint=PATH" in refusal(capsys, "evaluate", "out=x")
    assert "out is missing: give out=PATH" in refusal(capsys, "evaluate", f"checkpoint={other}")
