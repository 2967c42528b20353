"""The options of `s2robot reproduce`; their meanings are the comments of `configs/reproduce.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from s2robot.config.options import Count, Natural

_LARGE = {"table10": ("encoder=small",), "metaworld5": ("encoder=dinov2-small",)}


@dataclass(frozen=True)
class ReproduceOptions:
    """Of one run. Counts that are None are the plan's."""

    what: Literal["table10", "metaworld5"]
    out: str
    results: str
    plan_only: bool
    cells: tuple[str, ...] | None
    arms: tuple[str, ...] | None
    seeds: tuple[Natural, ...]
    small: tuple[str, ...]
    large: tuple[str, ...] | None
    random: tuple[str, ...]
    blind: tuple[str, ...]
    episodes: Count | None
    steps: Count | None
    starts: Natural | None
    random_starts: Natural | None
    workers: Natural
    record: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...]

    def encoder(self, which: str) -> tuple[str, ...]:
        """The options that choose an encoder: `small`, `large`, `random` or `blind`."""
        large = _LARGE[self.what] if self.large is None else self.large
        return {"small": self.small, "large": large, "random": self.random, "blind": self.blind}[which]
