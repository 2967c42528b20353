"""Random actions, for trying an environment out."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class RandomActor:
    """Actions drawn from the action space; its demos are kept whether they succeed or not."""

    keep_failures = True

    def __init__(self, env: gymnasium.Env, rng: np.random.Generator) -> None:
        self._space = env.action_space
        self._space.seed(int(rng.integers(2**31)))

    def act(self, observation: Any) -> np.ndarray:
        return self._space.sample()
