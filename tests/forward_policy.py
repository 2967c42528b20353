"""A policy for tests that needs no training."""

from __future__ import annotations

import numpy as np

from s2robot.core.spec import Observation


class Forward:
    """A policy that creeps forward, or does what the test says at an observation."""

    chunk_size = 16

    def __init__(self) -> None:
        self.action = np.array([0.004, 0.0, 0.0, -1.0], np.float32)
        self.error: Exception | None = None

    def reset(self) -> None: ...

    def observe(self, observation: Observation) -> None:
        if self.error:
            raise self.error

    def record_action(self, action: np.ndarray) -> None: ...

    def predict(self) -> np.ndarray:
        return np.tile(self.action, (self.chunk_size, 1))
