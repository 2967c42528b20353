"""Two policies tried on the same positions: their difference with its interval, and an exact test.

Differences are always the first rate minus the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from s2robot.core.errors import UserError
from s2robot.statistics.rates import wilson


class Pairs(NamedTuple):
    """At how many positions both policies succeeded, only the first, only the second, and neither."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, a: Sequence[bool], b: Sequence[bool]) -> Pairs:
        """The four counts of outcomes, position by position.

        Raises UserError for lengths that differ, no outcomes, or outcomes that are not true or false.
        """
        first, second = _outcomes(a), _outcomes(b)
        if len(first) != len(second):
            raise UserError(
                f"{len(first)} outcomes against {len(second)}: paired outcomes need the same positions"
            )
        cells = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(cell.sum()) for cell in cells))

    @property
    def difference(self) -> float:
        """The first policy's rate minus the second's."""
        return (self.only_first - self.only_second) / sum(self)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """The exact two-sided p value of two policies tried on the same positions.

    Only the positions where one succeeds and the other fails tell them apart; without any, p is 1.

    Args:
        a, b: the outcomes of both policies, position by position: one length, at least one position.

    Raises:
        UserError: lengths that differ, no outcomes, or outcomes that are not true or false.
    """
    from scipy.stats import binomtest  # here: its import takes a second, which most commands need not wait

    pairs = Pairs.of(a, b)
    discordant = pairs.only_first + pairs.only_second
    return float(binomtest(pairs.only_first, discordant).pvalue) if discordant else 1.0


def newcombe(a: Sequence[bool], b: Sequence[bool], confidence: float = 0.95) -> tuple[float, float]:
    """The interval (low, high) of the difference of two rates on the same positions.

    Newcombe's method 10 (Statistics in Medicine 17, 1998, pp. 2635-2650): both Wilson intervals, squared and
    added, with the correlation of the pairs. Raises UserError as `mcnemar` and `wilson`.
    """
    pairs = Pairs.of(a, b)
    trials = sum(pairs)
    counts = pairs.both + pairs.only_first, pairs.both + pairs.only_second
    first, second = ((count / trials, *wilson(count, trials, confidence)) for count in counts)
    spread = sqrt(np.prod([float(count * (trials - count)) for count in counts])) / trials**2
    covariance = (pairs.both * pairs.neither - pairs.only_first * pairs.only_second) / trials**2
    correlation = shrunk(covariance, trials) / spread if spread else 0.0
    return square_and_add(first, second, correlation)


def shrunk(covariance: float, positions: int) -> float:
    """Newcombe's correction: a positive covariance over few positions is trusted less."""
    return max(0.0, covariance - 0.5 / positions) if covariance > 0 else covariance


def square_and_add(
    first: tuple[float, float, float], second: tuple[float, float, float], correlation: float
) -> tuple[float, float]:
    """The interval of `first - second`, each (estimate, low, high), from their own intervals.

    Zou and Donner, Statistics in Medicine 27 (2008), pp. 1693-1702: each limit's distance from the estimate
    stands for a standard error.
    """
    (p, low, high), (q, q_low, q_high) = first, second

    def reach(x: float, y: float) -> float:
        return sqrt(max(0.0, x**2 + y**2 - 2 * correlation * x * y))

    return p - q - reach(p - low, q_high - q), p - q + reach(high - p, q - q_low)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several comparisons: adjusted p values, in the order given.

    Scandinavian Journal of Statistics 6 (1979), pp. 65-70: calling those at most 0.05 different is wrong
    anywhere among them with a probability of at most 0.05.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return adjusted.tolist()


def _outcomes(values: Sequence[bool]) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0:
        raise UserError("no outcomes to compare: expected one true or false for each position")
    if array.dtype != bool or array.ndim != 1:
        raise UserError(
            f"outcomes of type {array.dtype}, shape {array.shape}: expected a list of true and false"
        )
    return array
