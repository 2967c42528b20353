"""A simulator whose renderer hangs at the third step of an episode of chosen seeds."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from envs.toy import Toy


class HangingToy(Toy):
    """Hangs in every episode of which the environment's seed is odd."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._hangs, self._taken = bool(seed and seed % 2), 0
        return super().reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> Any:
        self._taken += 1
        if self._hangs and self._taken == 3:
            time.sleep(10_000)
        return super().step(action)
