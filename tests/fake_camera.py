"""A camera without optics whose faults a test can choose."""

from __future__ import annotations

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.cameras.camera import Frame
from s2robot.robot.clock import Clock


class FakeCamera:
    """Each look is a new frame, unless it is frozen."""

    def __init__(self, clock: Clock, size: int = 16) -> None:
        self.shape = (size, size, 3)
        self._clock, self._number = clock, 0
        self.frozen: Frame | None = None
        self.is_open = False
        self.opened = 0
        self.problem: str | None = None  # why it cannot be opened

    def open(self) -> None:
        assert not self.is_open, "opened twice"
        if self.problem is not None:
            raise UserError(self.problem)
        self.is_open = True
        self.opened += 1

    def latest(self) -> Frame:
        if self.frozen is not None:
            return self.frozen
        self._number += 1
        return Frame(np.full(self.shape, self._number % 256, np.uint8), self._clock.now(), self._number)

    def freeze(self) -> None:
        self.frozen = self.latest()

    def close(self) -> None:
        self.is_open = False
