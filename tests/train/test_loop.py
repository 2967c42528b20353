"""The whole loop in miniature on the real simulator, as one types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_loop import ENCODER, TRAIN, s2robot

from s2robot.data.store import DemoStore
from s2robot.policy.checkpoint import load_policy


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """record, encode, train, evaluate."""
    out = tmp_path_factory.mktemp("loop")
    demos, features = f"demos={out / 'demos'}", f"features={out / 'features'}"
    recording = "episodes=2", "env.image_size=64", "expert.miss_share=0", "workers=0", f"out={out / 'demos'}"
    assert s2robot("record", *recording) == 0
    assert s2robot("encode", demos, features, *ENCODER, "workers=0") == 0
    assert s2robot("train", demos, features, *TRAIN, "steps=3", f"out={out / 'policy'}") == 0
    evaluating = f"checkpoint={out / 'policy'}", f"out={out / 'evaluation'}", "starts=2", "max_steps=6"
    assert s2robot("evaluate", *evaluating, "workers=0") == 0
    return out


def test_demos_of_the_simulator_are_successes_seen_by_both_cameras(loop: Path) -> None:
    store = DemoStore.open(loop / "demos")
    assert len(store) == 2
    for name in store.ids():
        episode = store.episode(name)
        assert episode.attributes["success"]
        assert episode.length > 10
        for camera in ("front", "wrist"):
            frames = episode.images(camera)
            assert frames.shape == (episode.length, 64, 64, 3)
            assert frames.std() > 10 and not np.array_equal(frames[0], frames[-1]), "a picture, and it moves"


def test_features_fit_the_demos(loop: Path) -> None:
    lengths = sorted(DemoStore.open(loop / "demos").episode(i).length for i in ("000000", "000001"))
    for camera in ("front", "wrist"):
        features = [np.load(path, mmap_mode="r") for path in (loop / "features").glob(f"*/*/{camera}.npy")]
        assert sorted(f.shape for f in features) == [(length, 17, 192) for length in lengths]


def test_the_policy_is_of_the_robot_of_the_demos(loop: Path) -> None:
    assert load_policy(loop / "policy").spec == DemoStore.open(loop / "demos").spec


def test_rollouts_are_counted_and_shown(loop: Path) -> None:
    evaluation = json.loads((loop / "evaluation" / "evaluation.json").read_text())
    assert evaluation["trials"] == 2
    assert [p["steps"] for p in evaluation["rollouts"]] == [6, 6], "three steps teach nothing"
    assert evaluation["successes"] == 0
    assert (loop / "evaluation" / "report.html").read_text().count("data:video/mp4") == 2
