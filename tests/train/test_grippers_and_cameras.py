"""Grippers of every unit and direction, cameras of any size and name: they train, and the policy predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kill_writer import SPEC
from toy_loop import ENCODER, made_episode, s2robot, train

from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.store import DemoStore, Episode
from s2robot.policy.checkpoint import load_policy

GRASP, LENGTH = 6, 15
QUICK = ("steps=2", "checkpoint_every=2", "val_fraction=0", "augment.variants=0")


def closing(open_value: float, closed: float, noise: float = 0.0) -> np.ndarray:
    """Actions (15, 2) whose last entry closes at step 6."""
    command = np.where(np.arange(LENGTH) < GRASP, open_value, closed)
    command = command + noise * np.random.default_rng(0).uniform(-1, 1, LENGTH)
    return np.stack([np.zeros(LENGTH), command], axis=1).astype(np.float32)


CONVENTIONS = [
    pytest.param(100.0, 0.0, 0.0, id="percent"),
    pytest.param(0.085, 0.0, 0.0, id="width-in-m"),
    pytest.param(1.0, -1.0, 0.0, id="one-is-open"),
    pytest.param(0.0, 1.0, 0.2, id="zero-to-one-with-noise"),
]


def store(path: Path, spec: RobotSpec, action: np.ndarray) -> Path:
    """Two demos of noise in all but their actions."""
    made = DemoStore.create(path, spec)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        shapes = {name: (len(action), *shape) for name, shape in spec.cameras.items()}
        made.append(
            Episode(
                images={name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()},
                proprio=rng.standard_normal((len(action), spec.proprio_dim), dtype=np.float32),
                action=action,
                action_applied=action,
                time=np.arange(len(action)) / spec.rate,
                attributes={},
            )
        )
    return path


@pytest.mark.parametrize(("open_value", "closed", "noise"), CONVENTIONS)
def test_a_grasp_is_found_by_the_spec_of_the_gripper(open_value: float, closed: float, noise: float) -> None:
    gripper = GripperSpec(1, open_value, closed)
    action = closing(open_value, closed, noise)
    assert made_episode(LENGTH, action=action, grippers=(gripper,)).grasp() == GRASP


@pytest.mark.parametrize(("open_value", "closed", "noise"), CONVENTIONS)
def test_its_grasps_are_a_target_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], open_value: float, closed: float, noise: float
) -> None:
    spec = replace(SPEC, grippers=(GripperSpec(1, open_value, closed),))
    demos = store(tmp_path / "demos", spec, closing(open_value, closed, noise))
    policy = load_policy(train(demos, tmp_path / "policy", "cameras=[wrist]", *QUICK))
    assert "grasp target: gripper entry 1 (gripper [m])" in capsys.readouterr().out
    assert policy.model.config.predicts_grasp


def test_without_a_gripper_there_is_no_grasp_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A yaw rate in the last entry, which changes its sign, closes nothing."""
    spec = replace(SPEC, action=("dx [m]", "yaw rate [rad/s]"))
    demos = store(tmp_path / "demos", spec, closing(-1.0, 1.0))
    policy = load_policy(train(demos, tmp_path / "policy", "cameras=[wrist]", *QUICK))
    assert "no gripper is named: no grasp target\n" in capsys.readouterr().out
    assert not policy.model.config.predicts_grasp


@pytest.mark.parametrize(
    "cameras",
    [
        pytest.param({"front": (96, 128, 3), "wrist": (64, 64, 3)}, id="sizes"),
        pytest.param(
            dict.fromkeys(("observation.image", "keys", "forward", "wrist.left"), (32, 32, 3)), id="names"
        ),
    ],
)
def test_cameras_of_any_size_and_name_are_encoded_train_and_are_read(
    tmp_path: Path, cameras: dict[str, tuple[int, int, int]]
) -> None:
    spec = replace(SPEC, cameras=cameras)
    demos = store(tmp_path / "demos", spec, closing(-1.0, 1.0))
    assert s2robot("encode", f"demos={demos}", *ENCODER, "workers=0", "augment.variants=0") == 0
    policy = load_policy(train(demos, tmp_path / "policy", *QUICK))
    assert list(policy.model.config.cameras) == list(policy.spec.cameras) == list(cameras)
    images = {name: np.full(shape, 50, np.uint8) for name, shape in cameras.items()}
    policy.observe({"images": images, "proprio": np.zeros(spec.proprio_dim, np.float32)})
    chunk = policy.predict()
    assert chunk.shape == (policy.chunk_size, spec.action_dim) and np.isfinite(chunk).all()


def test_scales_are_resized_to_the_fine_grid_and_tiles_keep_a_frames_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = replace(SPEC, cameras={"front": (60, 80, 3), "wrist": (64, 64, 3)})
    demos = store(tmp_path / "demos", spec, closing(-1.0, 1.0))
    fine = ("encoder.sizes=[32,64]", "encoder.resize_to=-1", "encoder.fit=tiles")
    policy = load_policy(train(demos, tmp_path / "policy", *fine, *QUICK))
    assert dict(policy.model.config.cameras) == {"front": (4, 6, 384), "wrist": (4, 4, 384)}
    proprio = np.zeros(spec.proprio_dim, np.float32)
    policy.observe(
        {"images": {n: np.zeros(s, np.uint8) for n, s in spec.cameras.items()}, "proprio": proprio}
    )
    assert np.isfinite(policy.predict()).all()
    portrait = {"front": np.zeros((80, 60, 3), np.uint8), "wrist": np.zeros((64, 64, 3), np.uint8)}
    with pytest.raises(UserError, match=r"front gives frames of 80 x 60 px.* trained on 60 x 80"):
        policy.observe({"images": portrait, "proprio": proprio})


def test_a_cropped_camera_is_cropped_in_training_and_in_a_rollout(tmp_path: Path) -> None:
    demos = store(tmp_path / "demos", SPEC, closing(-1.0, 1.0))
    camera, shape = next(iter(SPEC.cameras.items()))
    policy = load_policy(train(demos, tmp_path / "policy", f"encoder.crop.{camera}=[0.5,0,1,0.5]", *QUICK))
    assert policy.extractor.crop == {camera: (0.5, 0, 1, 0.5)}
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, size, np.uint8) for name, size in SPEC.cameras.items()}
    chunks = []
    for changed in (
        slice(0, 0),
        slice(shape[0] // 2, None),
        slice(0, shape[0] // 2),
    ):  # none, outside, inside
        seen = {name: frame.copy() for name, frame in images.items()}
        seen[camera][changed] = 0
        policy.reset()
        policy.observe({"images": seen, "proprio": np.zeros(SPEC.proprio_dim, np.float32)})
        chunks.append(policy.predict())
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert not np.array_equal(chunks[0], chunks[2])
