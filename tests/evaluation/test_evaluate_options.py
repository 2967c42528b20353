"""Evaluation beyond the plain one: changed scenes, rollouts kept as demos, the expert who acts instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_loop import refusal, s2robot, train

from s2robot.data.store import DemoStore

OPTIONS = ("starts=2", "random_starts=1", "max_steps=5", "seed=5", "workers=0")


def evaluate(checkpoint: Path, out: Path, *options: str) -> dict[str, Any]:
    assert s2robot("evaluate", f"checkpoint={checkpoint}", f"out={out}", *OPTIONS, *options) == 0
    return json.loads((out / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def kept(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation in `out`, its rollouts in `store`."""
    folder = tmp_path_factory.mktemp("kept")
    evaluate(toy_checkpoint, folder / "out", f"store={folder / 'store'}")
    return folder


def digests(evaluation: dict[str, Any], kind: str) -> list[str]:
    return [o["digests"][kind] for o in evaluation["rollouts"] + evaluation["random_starts"]["rollouts"]]


def test_perturbations_change_what_is_seen_and_not_where_it_starts(
    kept: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    clean = json.loads((kept / "out" / "evaluation.json").read_text())
    assert clean["config"]["evaluate"]["perturbation"] is None and "channel" not in clean["config"]
    for name in ("light", "latency", "small"):
        changed = evaluate(toy_checkpoint, tmp_path / name, f"perturbation={name}")
        assert digests(changed, "start") == digests(clean, "start")
        assert not set(digests(changed, "rollout")) & set(digests(clean, "rollout"))
        assert [p["seed"] for p in changed["rollouts"]] == [p["seed"] for p in clean["rollouts"]]
        assert changed["config"]["evaluate"]["perturbation"] == name
        again = evaluate(toy_checkpoint, tmp_path / f"{name}2", f"perturbation={name}")
        assert digests(again, "rollout") == digests(changed, "rollout")


def test_rollouts_are_kept_as_demos(kept: Path, tmp_path: Path) -> None:
    evaluation = json.loads((kept / "out" / "evaluation.json").read_text())
    outcomes = evaluation["rollouts"] + evaluation["random_starts"]["rollouts"]
    store = DemoStore.open(kept / "store")
    assert store.ids() == [f"{outcome['index']:06d}" for outcome in outcomes]
    for reader, outcome in zip(store.episodes(), outcomes, strict=True):
        assert reader.length == outcome["steps"]
        for name in ("success", "seed", "failure"):
            assert reader.attributes[name] == outcome[name]
        assert reader.attributes["action_loss_mask"] == [outcome["success"]] * outcome["steps"]
    assert s2robot("demos", "validate", kept / "store") == 0
    assert s2robot("demos", "replay", kept / "store", "workers=0", "--json") == 0
    assert s2robot("demos", "inspect", kept / "store", f"out={tmp_path / 'page.html'}") == 0
    train(kept / "store", tmp_path / "policy", "steps=2", "val_fraction=0")


def test_a_rollout_that_is_kept_already_is_not_kept_twice(
    kept: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = DemoStore.open(kept / "store").digest()
    evaluate(toy_checkpoint, tmp_path, f"store={kept / 'store'}")
    assert DemoStore.open(kept / "store").digest() == before
    given = (f"checkpoint={toy_checkpoint}", f"out={tmp_path / 'b'}", f"store={kept / 'store'}")
    assert "holds episodes of another origin" in refusal(
        capsys, "evaluate", *given, "n_action_steps=3", *OPTIONS
    )
    assert not (tmp_path / "b").exists()


def test_the_expert_acts_in_the_policys_place(toy_checkpoint: Path, tmp_path: Path) -> None:
    options = ("actor=expert", "max_steps=40")
    result = evaluate(toy_checkpoint, tmp_path, *options)
    assert (result["successes"], result["random_starts"]["successes"]) == (2, 1)
    assert result["config"]["evaluate"]["actor"] == "expert"
    assert np.ptp([p["steps"] for p in result["rollouts"]]) < 20


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("perturbation=lihgt", "unknown perturbation 'lihgt': did you mean 'light'?"),
        ("perturbation=camera", "unknown perturbation 'camera': valid: light"),
        ("actor=exprt", "unknown actor 'exprt': did you mean 'expert'?"),
        ("seed=-1", "seed=-1: expected 0 or more"),
        ("max_steps=0", "max_steps=0: expected 1 or more"),
        ("stages=nowhere.json", "nowhere.json is damaged (No such file or directory)"),
        (f"stages={__file__}", "test_evaluate_options.py is damaged (Extra data"),
    ],
)
def test_mistakes_are_one_line(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str
) -> None:
    given = (f"checkpoint={toy_checkpoint}", f"out={tmp_path / 'out'}", *OPTIONS, option)
    assert told in refusal(capsys, "evaluate", *given)
    assert not (tmp_path / "out").exists()
