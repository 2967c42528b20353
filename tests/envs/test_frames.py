"""Frames for pre-training: each a pure function of seed and index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from envs.cube_pick.frames import RandomFrames


@pytest.fixture(scope="module")
def source() -> Iterator[RandomFrames]:
    source = RandomFrames(seed=0, image_size=64)
    yield source
    source.close()


def test_a_state_is_seen_by_every_camera(source: RandomFrames) -> None:
    frames = source(0)
    assert list(frames) == source.cameras == ["front", "wrist"]
    assert {(frame.dtype, frame.shape) for frame in frames.values()} == {(np.dtype(np.uint8), (64, 64, 3))}
    assert all(frame.std() > 10 for frame in frames.values())


def test_a_frame_depends_on_seed_and_index_alone(source: RandomFrames) -> None:
    wanted = {name: frame.copy() for name, frame in source(5).items()}
    for index in (9, 2):
        assert not np.array_equal(source(index)["front"], wanted["front"])
    fresh = RandomFrames(seed=0, image_size=64)
    other = RandomFrames(seed=1, image_size=64)
    for again in (source(5), fresh(5)):
        assert all(np.array_equal(again[name], frame) for name, frame in wanted.items())
    assert not np.array_equal(other(5)["front"], wanted["front"])
    fresh.close()
    other.close()


def test_the_gripper_is_drawn_all_over_the_table(source: RandomFrames) -> None:
    wrist = np.stack([source(index)["wrist"] for index in range(12)]).astype(float)
    assert wrist.std(axis=0).mean() > 10


def test_varied_frames_show_the_same_states_in_other_rooms(source: RandomFrames) -> None:
    varied, again = (RandomFrames(0, 64, {"light": 1.0, "texture": 1.0}) for _ in range(2))
    wanted = {index: varied(index)["front"].copy() for index in (5, 2)}
    assert np.array_equal(again(2)["front"], wanted[2]), "whatever was seen before"
    wall = {index: frame[:8].mean(axis=(0, 1)) for index, frame in wanted.items()}
    assert np.abs(wall[5] - wall[2]).max() > 10
    plain = source(5)["front"][:8].mean(axis=(0, 1)), source(2)["front"][:8].mean(axis=(0, 1))
    assert np.abs(plain[0] - plain[1]).max() < 5, "one room"
    varied.close()
    again.close()
