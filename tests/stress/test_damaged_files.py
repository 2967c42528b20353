"""What was damaged or edited ends in one line in every command that reads it."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_loop import refusal, s2robot, training

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.errors import UserError
from s2robot.sweep.table import collect
from s2robot.train.checkpointing import STATE, Folder
from s2robot.train.options import TrainOptions
from s2robot.train.run import Run
from tests.stress.mutations import mutations

FEW = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def evaluation(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("damaged") / "evaluation"
    options = ["starts=2", "random_starts=1", "max_steps=2", "workers=0"]
    assert s2robot("evaluate", f"checkpoint={toy_checkpoint}", f"out={out}", *options) == 0
    return out / "evaluation.json"


def said(*arguments: object) -> tuple[int, str]:
    """Exit code and last line of an error; a traceback would be raised here."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = s2robot(*arguments)
    return code, (err.getvalue().splitlines() or [""])[-1]


@FEW
@given(data=st.data())
def test_no_damage_of_an_evaluation_is_a_traceback(
    evaluation: Path, tmp_path: Path, data: st.DataObject
) -> None:
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps(data.draw(mutations(json.loads(evaluation.read_text())))))
    for arguments in (("compare", evaluation, file), ("evaluate", f"replay={file}", "index=0")):
        code, line = said(*arguments)
        assert code in (0, 1) or (code == 2 and line.startswith(f"s2robot {arguments[0]}: "))


DAMAGE: dict[str, Any] = {
    "a number": lambda e: 3,
    "places of null": lambda e: e["rollouts"][0]["start"].update(place=[None, 0, 0]),
    "starts of null": lambda e: e["rollouts"][0].update(start=None),
    "no env": lambda e: e["config"].pop("env"),
    "steps as text": lambda e: e["config"]["evaluate"].update(max_steps="80"),
    "the environment's steps as text": lambda e: e["config"]["env"].update(max_steps="80"),
    "an unknown execution": lambda e: e["config"]["evaluate"].update(execution="x"),
    "counts that are not those of the rollouts": lambda e: e.update(successes=2, success_rate=1.0),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_evaluation_is_not_replayed(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Any], Any]
) -> None:
    content = json.loads(evaluation.read_text())
    changed = change(content)
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps(3 if changed == 3 else content))
    refusal(capsys, "evaluate", f"replay={file}", "index=0")


@FEW
@given(data=st.data())
def test_no_damage_of_a_rollout_that_waits_is_a_traceback(
    evaluation: Path, toy_checkpoint: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """As a crash would leave it, and then a bad disk."""
    from s2robot.evaluation.unfinished import Rollout, Unfinished

    folder = tmp_path / data.draw(st.uuids().map(str))
    waiting = Unfinished(folder / "unfinished", {"checkpoint": "a"})
    waiting.keep(Rollout(0, json.loads(evaluation.read_text())["rollouts"][0], None))
    for name in ("000000.json", "identity.json"):
        file = folder / "unfinished" / name
        whole = file.read_text()
        file.write_text(json.dumps(data.draw(mutations(json.loads(whole)))))
        with contextlib.suppress(UserError):
            Unfinished.begin(folder, {"checkpoint": "a"}, overwrite=False).kept({0})
        file.write_text(whole)


def test_damaged_jobs_of_a_sweep_are_one_line(evaluation: Path, tmp_path: Path) -> None:
    job = tmp_path / "0"
    (job / "policy/evaluation").mkdir(parents=True)
    contents: dict[str, list[Any]] = {
        "job.json": [3, {}, {"options": 3}, {"options": ["seed"]}],
        "policy/curves.json": [[1], {"action/train": 3}, {"action/train": [["x", "y"]]}],
        "policy/evaluation/evaluation.json": [3, {}],
    }
    for name, wrongs in contents.items():
        (job / "job.json").write_text('{"options": ["seed=0"], "evaluation": null, "error": null}')
        for wrong in wrongs:
            (job / name).write_text(json.dumps(wrong))
            with pytest.raises(UserError):
                collect(tmp_path, ["seed"], 1)
        (job / name).unlink()


# ---------------------------------------------------------------------- the state of a training


@pytest.fixture(scope="module")
def state(toy_checkpoint: Path) -> dict[str, Any]:
    return torch.load(toy_checkpoint / STATE, weights_only=True)


@FEW
@given(data=st.data())
def test_no_damage_of_a_state_is_a_traceback(
    state: dict[str, Any], toy_checkpoint: Path, toy_store: Path, tmp_path: Path, data: st.DataObject
) -> None:
    torch.save(data.draw(mutations(state)), tmp_path / STATE)
    run = _run(toy_checkpoint, toy_store, state["recipe"])
    options = read_options(TrainOptions, compose("train", training(toy_store, tmp_path)[1:]))
    demos: Any = SimpleNamespace(digest="another", sources=[])
    with contextlib.suppress(UserError):
        Folder(tmp_path, None, {}, 0).resume(run, options, demos)  # type: ignore[arg-type]


@functools.cache
def _made(toy_checkpoint: Path, toy_store: Path) -> Run:
    from s2robot.policy.checkpoint import load_policy

    model = load_policy(toy_checkpoint).model
    return Run(model, torch.optim.AdamW(model.parameters()), "")


def _run(toy_checkpoint: Path, toy_store: Path, recipe: str) -> Run:
    run = copy.deepcopy(_made(toy_checkpoint, toy_store))
    run.recipe = recipe
    return run


@pytest.mark.parametrize(
    "content",
    [[1, 2], {}, torch.zeros(3), "text", {"recipe": 3}],
    ids=["list", "empty", "tensor", "text", "recipe"],
)
def test_a_training_does_not_go_on_from_something_else(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    torch.save(content, tmp_path / STATE)
    line = refusal(capsys, *training(toy_store, tmp_path))
    assert f"{tmp_path / STATE} is damaged (" in line
    assert line.endswith(f"delete {tmp_path} and train again, or give another out=")


def test_a_state_that_was_cut_short_is_one_line(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (toy_checkpoint / STATE).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / STATE).write_bytes(whole[:size])
        assert f"{tmp_path / STATE} is damaged (" in refusal(capsys, *training(toy_store, tmp_path))
