"""Where time goes: the own time of named parts, without that of the parts inside them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


class Clock:
    """Adds up the seconds of each part. Parts may lie inside others: each second is counted once.

    Args:
        now: the time in s, monotonic.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now = now
        self._inside: list[str] = []
        self._since = now()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what runs in the block."""
        self._turn()
        self._inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted whenever it is called."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return call

    def _turn(self) -> None:
        now = self._now()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now
