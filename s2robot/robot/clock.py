"""The time that arms, cameras and the safety layer share: monotonic seconds, the same in all processes."""

from __future__ import annotations

import time

from s2robot.core.errors import UserError


class Clock:
    """Seconds that never jump, whatever happens to the calendar.

    Args:
        realtime_factor: below 1, a second takes 1 / realtime_factor real ones: slow motion, for a simulated
            arm on a machine that cannot simulate it in time. Hardware knows 1 alone.
    """

    def __init__(self, realtime_factor: float = 1.0) -> None:
        if not 0 < realtime_factor <= 1:
            raise UserError(f"realtime_factor={realtime_factor}: expected more than 0, at most 1 (real time)")
        self.realtime_factor = realtime_factor

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic() * self.realtime_factor

    def sleep(self, seconds: float) -> None:
        """Lets so many of this clock's seconds pass."""
        time.sleep(max(0.0, seconds) / self.realtime_factor)

    def real(self, seconds: float) -> float:
        """How long so many of this clock's seconds really take: for timeouts of locks and pipes."""
        return max(0.0, seconds) / self.realtime_factor
