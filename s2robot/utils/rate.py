"""A clock that ticks at a robot's rate, and a measure of how well that went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_TOLERANCE = 0.05  # of a period: lateness below is the operating system's


class ControlRate:
    """A clock that ticks `rate` times a second while it runs.

    A step that takes longer than a period is an overrun: the next tick comes at once, and the ticks after it
    a full period later each, so that lost time is never caught up in a rush.

    Args:
        rate: ticks a second (Hz).
        clock, sleep: for tests, which do not wait.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period = 1.0 / rate
        self._clock, self._sleep = clock, sleep
        self.start()

    def start(self) -> None:
        """Time zero is now, and the first tick."""
        self._zero = self._next = self._clock()
        self._last: float | None = None
        self._periods: list[float] = []
        self._pauses: list[float] = []
        self.overruns = 0

    def wait(self) -> None:
        """Returns at the next tick, or at once where it is past."""
        late = self._clock() - self._next
        if late < 0:
            self._sleep(-late)
        now = self._clock()
        if late > _TOLERANCE * self._period:
            self.overruns += 1
            self._next = now
        if self._last is not None:
            self._periods.append(now - self._last)
        self._last = now
        self._next += self._period

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within takes no time."""
        began = self._clock()
        try:
            yield
        finally:
            self._pauses.append(self._clock() - began)
            self._zero += self._pauses[-1]
            self._last, self._next = None, self._clock()

    def now(self) -> float:
        """Seconds since the start, without the pauses."""
        return self._clock() - self._zero

    def achieved(self) -> float | None:
        """Ticks a second so far (Hz), None before the second tick."""
        return 1.0 / float(np.mean(self._periods)) if self._periods else None

    def jitter(self) -> float | None:
        """Standard deviation of the periods so far (s)."""
        return float(np.std(self._periods)) if self._periods else None

    def attributes(self) -> dict[str, Any]:
        """What is stored with a take: rates in Hz, jitter and pauses in s."""
        return {
            "rate": 1.0 / self._period,
            "achieved_rate": self.achieved(),
            "jitter": self.jitter(),
            "overruns": self.overruns,
            "pauses": list(self._pauses),
        }


class FollowedRate(ControlRate):
    """The control rate of an environment that waits for its ticks itself: here nobody waits a second time."""

    def __init__(self, own: ControlRate) -> None:
        self._own = own
        self.overruns = 0

    def start(self) -> None:
        """The environment starts at its first step."""

    def wait(self) -> None:
        """The environment has waited."""
        self.overruns = self._own.overruns

    @contextmanager
    def paused(self) -> Iterator[None]:
        """An arm that gets no commands is stopped by its watchdog: the take ends."""
        yield

    def now(self) -> float:
        return self._own.now()

    def achieved(self) -> float | None:
        return self._own.achieved()

    def jitter(self) -> float | None:
        return self._own.jitter()

    def attributes(self) -> dict[str, Any]:
        return self._own.attributes()
