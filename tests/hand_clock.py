"""A clock that a test sets by hand."""

from __future__ import annotations


class HandClock:
    now = 100.0  # s

    def __call__(self) -> float:
        return self.now
