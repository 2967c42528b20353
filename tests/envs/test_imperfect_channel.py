"""An imperfect channel: late frames, lost frames, inexact actions; seeded, and perfect where so asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import refusal

from envs.imperfect_channel import NOISE, ImperfectChannel
from envs.toy import Toy
from s2robot.core.spec import Observation

RIGHT = np.array([0.0, 0.02, 0.0, -1.0], np.float32)
STEPS = 12
CUBE = {"cube": (0.0, 0.05, 0.0)}  # which the gripper moves over


def observed(seed: int = 3, **channel: Any) -> list[Observation]:
    """What is seen while the gripper moves to one side."""
    env = ImperfectChannel(Toy(image_size=64), **channel)
    seen = [env.reset(seed=seed, options=CUBE)[0]]
    return seen + [env.step(RIGHT)[0] for _ in range(STEPS)]


def frames(seen: list[Observation], camera: str = "front") -> list[bytes]:
    return [observation["images"][camera].tobytes() for observation in seen]


CLEAR = observed()


def test_a_perfect_channel_changes_nothing() -> None:
    env = Toy(image_size=64)
    bare = [env.reset(seed=3, options=CUBE)[0], *(env.step(RIGHT)[0] for _ in range(STEPS))]
    assert frames(bare) == frames(CLEAR)
    assert [o["proprio"].tobytes() for o in bare] == [o["proprio"].tobytes() for o in CLEAR]
    assert len(set(frames(CLEAR))) > STEPS // 2, "the gripper is seen to move"


@pytest.mark.parametrize("latency", [1, 3])
def test_frames_are_late_and_proprioception_is_not(latency: int) -> None:
    seen = observed(latency=latency)
    assert frames(seen) == frames(CLEAR)[:1] * latency + frames(CLEAR)[:-latency]
    assert [o["proprio"].tobytes() for o in seen] == [o["proprio"].tobytes() for o in CLEAR]


def test_where_a_frame_is_lost_the_last_one_is_seen_again() -> None:
    seen = observed(dropped=0.5)
    for camera in ("front", "wrist"):
        now, clear = frames(seen, camera), frames(CLEAR, camera)
        assert now[0] == clear[0]
        assert all(now[i] in (clear[i], now[i - 1]) for i in range(1, len(now)))
        assert now != clear
    lost = [
        [a != b for a, b in zip(frames(seen, c), frames(CLEAR, c), strict=True)] for c in ("front", "wrist")
    ]
    assert lost[0] != lost[1], "each camera by itself"


def test_about_as_many_frames_are_lost_as_asked_for() -> None:
    lost = []
    for seed in range(30):
        clear, seen = frames(observed(seed)), frames(observed(seed, dropped=0.2))
        moved = [i for i in range(1, len(clear)) if clear[i] not in clear[:i]]
        lost += [seen[i] != clear[i] for i in moved]
    assert 0.12 < np.mean(lost) < 0.28


def test_noise_is_on_the_arm_and_never_on_the_gripper() -> None:
    env = ImperfectChannel(Toy(image_size=16), action_noise=1.0)
    env.reset(seed=0)
    applied = np.stack([env.step(RIGHT)[4]["action_applied"] for _ in range(200)])
    noise = applied - RIGHT
    assert (noise[:, 3] == 0).all()
    np.testing.assert_allclose(noise[:, :3].std(axis=0), NOISE["ee_delta"], rtol=0.25)
    assert abs(noise[:, :3].mean()) < 0.001


@pytest.mark.parametrize("channel", [{"dropped": 0.5}, {"action_noise": 1.0}])
def test_a_seed_decides_everything(channel: dict[str, Any]) -> None:
    env = ImperfectChannel(Toy(image_size=64), **channel)
    env.reset(seed=9)
    env.step(RIGHT)
    again = [env.reset(seed=3, options=CUBE)[0], *(env.step(RIGHT)[0] for _ in range(STEPS))]
    assert frames(again) == frames(observed(**channel)), "whatever came before"
    assert frames(again) != frames(observed(seed=4, **channel))


def test_mistakes_are_one_line() -> None:
    mistakes: list[dict[str, Any]] = [{"latency": -1}, {"dropped": 1.0}, {"action_noise": -1.0}]
    for channel in mistakes:
        assert "expected 0 steps or more" in refusal(lambda c=channel: ImperfectChannel(Toy(), **c))
