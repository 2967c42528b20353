"""`evaluate score=offline`: the error of a policy's actions on demos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toy_loop import record, refusal, s2robot, train

from s2robot.data.store import DemoStore
from s2robot.policy.checkpoint import load_policy
from s2robot.train.demos import held_out_indices


@pytest.fixture(scope="module")
def checkpoint(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on three of four demos, as if of no simulator."""
    out = train(toy_store, tmp_path_factory.mktemp("imported") / "policy", "val_fraction=0.25", "steps=2")
    config = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(config | {"env": None}, sort_keys=False))
    return out


def scored(checkpoint: Path, out: Path, *options: str) -> dict[str, Any]:
    assert s2robot("evaluate", f"checkpoint={checkpoint}", f"out={out}", "score=offline", *options) == 0
    return json.loads((out / "offline.json").read_text())


def test_the_errors_are_those_of_a_policy_that_follows_the_held_out_demo(
    toy_store: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = scored(checkpoint, tmp_path)
    said = capsys.readouterr().out
    assert "on the demos that the training held out (1 episode, so without intervals)" in said
    assert (
        "An error of actions is not success" in said
        and "An error of actions is not success" in (tmp_path / "report.html").read_text()
    )
    store = DemoStore.open(toy_store)
    (i,) = held_out_indices(4, 0.25, 0)
    name = store.ids()[i]
    assert list(result["episodes"]) == [f"{toy_store}/{name}"]
    episode, policy = store.episode(name), load_policy(checkpoint)
    errors: list[list[np.ndarray]] = [[] for _ in range(policy.chunk_size)]
    for t in range(episode.length):
        images = {camera: episode.images(camera, t) for camera in store.spec.cameras}
        policy.observe({"images": images, "proprio": episode.proprio[t]})
        for h, predicted in enumerate(policy.predict()[: episode.length - t]):
            errors[h].append(np.abs(predicted - episode.action[t + h]))
        policy.record_action(episode.action[t])
    assert 4 < episode.length < policy.chunk_size, "nothing is demonstrated beyond its end"
    expected = np.array([np.mean(found, axis=0) for found in errors[: episode.length]])
    steps = result["episodes"][f"{toy_store}/{name}"]
    np.testing.assert_allclose(steps[: episode.length], expected, rtol=0.02, atol=1e-4)
    assert steps[-1] == [None] * 4
    assert list(result["entries"]) == list(store.spec.action)
    entry = result["entries"]["dx [m]"]
    assert entry["error"]["mean"] == pytest.approx(expected[:, 0].mean(), rel=0.02)
    assert entry["by_step"][3]["mean"] == pytest.approx(expected[3, 0], rel=0.02, abs=1e-4)
    mean = policy.model.action_normalizer.mean.numpy()
    away = np.abs(episode.action - mean)[:, 0]
    by_step = [away[h:].mean() for h in range(episode.length)]
    assert entry["mean_action_error"] == pytest.approx(np.mean(by_step))


def test_given_demos_are_scored_with_intervals_over_episodes(
    toy_store: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = DemoStore.open(toy_store).ids()
    result = scored(checkpoint, tmp_path, f"ids=[{ids[0]},{ids[2]},{ids[3]}]")
    assert "(3 episodes)" in capsys.readouterr().out and len(result["episodes"]) == 3
    assert result["which"] == "the episodes that were named, some of which it was trained on"
    error = result["entries"]["dx [m]"]["error"]
    low, high = error["bootstrap_95"]
    assert low <= error["mean"] <= high


@pytest.mark.parametrize("fault", ["none held out", "other demos", "another robot", "again", "no simulator"])
def test_what_cannot_be_scored_is_refused(
    fault: str,
    toy_store: Path,
    toy_checkpoint: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["evaluate", f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}"]
    if fault == "none held out":
        given[1], expected = f"checkpoint={toy_checkpoint}", "the training held out no demos: name some"
    elif fault == "other demos":
        policy = shutil.copytree(checkpoint, tmp_path / "policy")
        text = (policy / "config.yaml").read_text()
        (policy / "config.yaml").write_text(text.replace("demos_sha256: ", "demos_sha256: 0"))
        given[1], expected = f"checkpoint={policy}", "the demos have changed since the training"
    elif fault == "another robot":
        other = record(tmp_path / "slow", 1, "env.rate=5")
        given.append(f"demos={other}")
        expected = "was trained on others: rate 10.0 -> 5.0"
    elif fault == "again":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "offline.json").write_text("{}")
        expected = "holds an offline score already"
    else:
        expected = "choose one, e.g. env=toy, or score=offline"
    score = [] if fault == "no simulator" else ["score=offline"]
    assert expected in refusal(capsys, *given, *score)
