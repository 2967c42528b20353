"""Partial credit: the mean progress of arms and its paired differences, where the environment tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from s2robot.compare.read import Arm, Trial
from s2robot.statistics.means import anytime_mean_interval, bootstrap_interval


@dataclass(frozen=True)
class MeanProgress:
    """Of one arm, or (with `second`) the first arm's minus the second's, over starts; 0 to 1.

    Progress of several training seeds is averaged at each start: the interval covers other starts alone.
    """

    first: str
    second: str | None
    value: float
    low: float
    high: float
    method: str
    confidence: float

    def sentence(self) -> str:
        """`a v b: mean progress +0.12 (95 % interval +0.02 to +0.22, bootstrap over starts)`."""
        sign = "+" if self.second else ""
        name = f"{self.first} v {self.second}" if self.second else self.first
        value, low, high = (format(v, f"{sign}.2f") for v in (self.value, self.low, self.high))
        interval = f"{100 * self.confidence:g} % interval {low} to {high}, {self.method}"
        return f"{name}: mean progress {value} ({interval})"


def mean_progress(
    compared: Sequence[Arm],
    part: str,
    order: Sequence[Trial],
    *,
    confidence: float = 0.95,
    anytime: bool = False,
    first_alone: bool = False,
) -> list[MeanProgress]:
    """Each arm's, then every two arms' difference, or the first's to each other; empty where one has none."""
    tables = [_by_start(arm, part, order) for arm in compared]
    known = [table for table in tables if table is not None]
    if len(known) < len(tables):
        return []
    how = (confidence, anytime)
    pairs = [(a, b) for a, b in combinations(range(len(known)), 2) if not first_alone or a == 0]
    return [
        *(_of(arm.name, None, values, (0, 1), *how) for arm, values in zip(compared, known, strict=True)),
        *(_of(compared[a].name, compared[b].name, known[a] - known[b], (-1, 1), *how) for a, b in pairs),
    ]


def _by_start(arm: Arm, part: str, order: Sequence[Trial]) -> np.ndarray | None:
    """(P,): the mean over training seeds; None where an evaluation does not tell."""
    tried = [evaluation.outcomes(part) for evaluation in arm.evaluations]
    if not all("progress" in outcomes[trial] for outcomes in tried for trial in order):
        return None
    return np.array([[outcomes[trial]["progress"] for trial in order] for outcomes in tried]).mean(0)


def _of(
    first: str,
    second: str | None,
    values: np.ndarray,
    bounds: tuple[float, float],
    confidence: float,
    anytime: bool,
) -> MeanProgress:
    if anytime:
        low, high = anytime_mean_interval(values.tolist(), confidence, bounds)
    else:
        low, high = bootstrap_interval(values.tolist(), confidence)
    method = "valid at all looks" if anytime else "bootstrap over starts"
    return MeanProgress(first, second, float(values.mean()), low, high, method, confidence)
