"""A gymnasium environment as someone writes it who has never heard of s2robot."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

SIZE = (24, 40)


class Point(gymnasium.Env):
    """A point goes to a goal. Its `info` says how near it is, and at the last step alone whether it came."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, told: str = "is_success", late: bool = False) -> None:
        self.render_mode, self.told, self.late = render_mode, told, late
        box = gymnasium.spaces.Box
        self.action_space = box(-0.1, 0.1, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "state": box(-3, 3, (5,), np.float64),
                "eyes": gymnasium.spaces.Dict(
                    {
                        "chw": box(0, 255, (3, *SIZE), np.uint8),
                        "grey": box(0, 255, SIZE, np.uint8),
                        "rgba": box(0, 255, (*SIZE, 4), np.uint8),
                    }
                ),
                "word": gymnasium.spaces.Text(5),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.point, self.goal = np.zeros(2), self.np_random.uniform(-0.5, 0.5, 2)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray):
        assert action.dtype == np.float64 and self.action_space.contains(action)
        self.point, self.count = self.point + action, self.count + 1
        distance = float(np.linalg.norm(self.point - self.goal))
        came = distance < 0.05
        told = {self.told: np.float64(came)} if came or not self.late else {}
        return self.observe(), -distance, False, False, told | {"near": max(0.0, 1 - distance)}

    def render(self) -> np.ndarray:
        frame = np.full((*SIZE, 3), 100, np.uint8)
        frame[:, :7] = (200, 30, 40)
        return frame

    def observe(self) -> dict[str, Any]:
        frame = self.render()
        alpha = np.full((*SIZE, 1), 9, np.uint8)
        eyes = {
            "chw": np.moveaxis(frame, -1, 0),
            "grey": frame[..., 0],
            "rgba": np.concatenate([frame, alpha], -1),
        }
        return {"state": np.array([*self.point, *self.goal, self.count / 10]), "eyes": eyes, "word": "hello"}


class Expert:
    """Goes straight to the goal, which it knows."""

    def __init__(self, env: gymnasium.Env, rng: np.random.Generator) -> None:
        self.env: Any = env.unwrapped

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        np.testing.assert_array_equal(observation["state"][:2], self.env.point)
        return np.clip(self.env.goal - self.env.point, -0.1, 0.1)


gymnasium.register("Point-v0", entry_point=Point, max_episode_steps=12)


def vector(**options: Any) -> gymnasium.Env:
    """The same with an observation that is one array."""
    state_alone = gymnasium.wrappers.FilterObservation(Point(**options), ["state"])
    return gymnasium.wrappers.FlattenObservation(state_alone)


gymnasium.register("PointVector-v0", entry_point=vector, max_episode_steps=12)
gymnasium.register("PointForever-v0", entry_point=Point)
