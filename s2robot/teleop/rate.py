"""An environment in real time, for a person: measured times, and an end when the person says so."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from s2robot.core.spec import Observation
from s2robot.utils.rate import ControlRate


class RealTime(gymnasium.Wrapper):
    """An environment whose `info["time"]` is measured (s), and whose episodes end when a person says so.

    Its own limit of steps, made for policies, gives way to `limit`.
    """

    def __init__(self, env: gymnasium.Env, control_rate: ControlRate, limit: int) -> None:
        super().__init__(env)
        self._control_rate, self._limit = control_rate, limit
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """As the environment's; the time is zero until the first step."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps = 0
        return observation, info | {"time": 0.0}

    def step(self, action: np.ndarray) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, _, info = self.env.step(action)
        self._steps += 1
        timed = info | {"time": self._control_rate.now()}
        ended = self._steps >= self._limit or info.get("stopped") is not None  # an arm that stands still
        return observation, reward, terminated, ended, timed
