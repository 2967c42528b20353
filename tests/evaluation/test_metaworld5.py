"""`s2robot reproduce metaworld5`: its plan, and its report from raw outcomes. Nothing is simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_loop import refusal, s2robot

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.reproduce.metaworld5.plan import ARMS, TASKS
from s2robot.reproduce.metaworld5.report import complete_seeds, read_outcomes, write_report
from s2robot.reproduce.metaworld5.work import find, works
from s2robot.reproduce.options import ReproduceOptions
from s2robot.tasks.metaworld import MetaWorldTask

PUBLISHED = Path(__file__).parents[2] / "docs" / "results" / "metaworld5"


def options(*overrides: str) -> ReproduceOptions:
    return read_options(ReproduceOptions, compose("reproduce", ("what=metaworld5", *overrides)))


def test_the_plan_is_every_arm_in_every_task_seed_by_seed() -> None:
    planned = works(options())
    assert len(planned) == len(ARMS) * len(TASKS) * 3 and len({w.name for w in planned}) == len(planned)
    assert [w.seed for w in planned] == sorted(w.seed for w in planned)
    assert (planned[0].options.out, planned[0].options.results) == (
        "runs/metaworld5",
        "docs/results/metaworld5",
    )
    for work in planned:
        assert find(work.name, work.options) == work
    assert find("small-1x_seed0", options()) is None
    few = works(options("cells=[hammer]", "arms=[small-s2-flow]", "seeds=[1]"))
    assert [w.name for w in few] == ["small-s2-flow_hammer_seed1"]


def test_its_commands_are_ones_that_s2robot_takes_and_share_demos() -> None:
    first, other, second = works(
        options("cells=[bin-picking]", "arms=[small-1x,large-1x-flow,large-s2-flow]", "seeds=[0]")
    )
    assert first.commands()[0] == other.commands()[0], "the same demos"
    assert "env.kwargs.image_size=448" in second.commands()[0].overrides, "the same starts, seen larger"
    for command in (*first.commands(), *second.commands()):
        compose(command.name, command.overrides)
    assert "env.task=bin-picking-v3" in first.commands()[0].overrides
    assert {"encoder.sizes=[224,448]", "encoder.resize_to=-1"} <= set(second.commands()[1].overrides)
    assert "policy.head=flow" not in first.commands()[1].overrides, "the first recipe stays what it was"
    assert {"policy.head=flow", "steps=1500"} <= set(other.commands()[1].overrides)
    assert "encoder=tiny" in first.commands()[1].overrides
    assert "encoder=dinov2-small" in other.commands()[1].overrides, "the larger one, where none is named"


def test_a_task_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ("reproduce", "metaworld5", "arms=[small-1x]", "plan_only=true", f"results={tmp_path}")
    said = refusal(capsys, *given, "cells=[hamer]")
    assert "unknown cell 'hamer': did you mean 'hammer'?" in said
    assert s2robot(*given, "cells=[hammer]") == 0
    assert "left  small-1x_hammer_seed2" in capsys.readouterr().out


def write_outcomes(folder: Path, name: str, successes: int) -> None:
    rollouts = [{"index": i, "success": i < successes, "steps": 9, "seed": i} for i in range(10)]
    start = {"start": {"options": {}, "place": None}, "metrics": {}}
    evaluation = {"schema": 2, "successes": successes, "trials": 10, "success_rate": successes / 10}
    evaluation |= {"wilson_95": [0, 1], "task": MetaWorldTask("hammer-v3").to_dict()}
    evaluation |= {"rollouts": [r | start for r in rollouts]}
    (folder / f"{name}.json").write_text(
        json.dumps(evaluation | {"random_starts": None, "config": {}, "checkpoint_sha256": "0"})
    )


def test_the_mean_is_over_tasks_and_the_seeds_that_have_all(tmp_path: Path) -> None:
    for task, successes in zip(TASKS, (10, 5, 8, 10, 9), strict=True):
        write_outcomes(tmp_path, f"small-1x_{task}_seed0", successes)
        write_outcomes(tmp_path, f"small-1x_{task}_seed1", 10)
    write_outcomes(tmp_path, "small-1x_hammer_seed2", 0)
    assert complete_seeds(read_outcomes(tmp_path, "small-1x")) == [0, 1]
    write_report(tmp_path)
    row = next(line for line in (tmp_path / "report.md").read_text().splitlines() if "small-1x" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:6] == ["20/20", "15/20", "18/20", "20/20", "19/30"]
    assert cells[6] == "92.0 ± 11.3"


def test_arms_are_compared_by_the_seeds_that_both_have(tmp_path: Path) -> None:
    for task in TASKS:
        for seed, successes in ((0, 9), (1, 7), (2, 0)):
            write_outcomes(tmp_path, f"small-1x-flow_{task}_seed{seed}", successes)
        for seed in (0, 1):
            write_outcomes(tmp_path, f"small-1x_{task}_seed{seed}", 3)
    write_report(tmp_path)
    rows = [line for line in (tmp_path / "report.md").read_text().splitlines() if " pp |" in line]
    assert len(rows) == 1 and rows[0].startswith("| `small-1x-flow` - `small-1x` | 0, 1 | +50.0 pp | ")


def test_the_published_report_is_computed_from_the_raw_outcomes(tmp_path: Path) -> None:
    page = PUBLISHED / "report.md"
    if page.is_file():
        for file in PUBLISHED.glob("*_seed*.json"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        write_report(tmp_path)
        assert (tmp_path / "report.md").read_text() == page.read_text()
        docs = (PUBLISHED.parents[1] / "metaworld.md").read_text().splitlines()
        assert [row for row in page.read_text().splitlines() if row.startswith("|") and row not in docs] == []
