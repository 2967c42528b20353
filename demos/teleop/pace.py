"""Real time: control steps at the robot's rate, and the truth about how well that went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from s2robot.spec import Observation

_TOLERANCE = 0.05  # of a period: lateness below is the operating system's


class Pace:
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


class RealTime(gymnasium.Wrapper):
    """An environment whose `info["time"]` is measured (s), and whose episodes end when a person says so.

    Its own limit of steps, made for policies, gives way to `limit`.
    """

    def __init__(self, env: gymnasium.Env, pace: Pace, limit: int) -> None:
        super().__init__(env)
        self._pace, self._limit = pace, limit
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
        timed = info | {"time": self._pace.now()}
        return observation, reward, terminated, self._steps >= self._limit, timed
