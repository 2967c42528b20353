"""Rates and differences over training seeds and positions: what another training elsewhere would give.

The outcomes of an arm are a table (S training seeds, P positions). Seeds and positions are both taken for
random (a two-way mixed model, its variances by the method of moments); arms share positions but not
trainings. The variance of a rate p gives an effective number of trials, p (1 - p) / variance, and, by
Satterthwaite (Biometrics Bulletin 2, 1946), degrees of freedom. Wilson's formula with that number and
Student's quantile makes the interval, as Korn and Graubard (Survey Methodology 24, 1998) do for clustered
samples, and two of them are subtracted as Newcombe's are. Simulated with 2 to 5 seeds and 16 or 100
positions, 95 % intervals held the truth in 93 to 99 % of the cases; a bootstrap over seeds and positions,
in 85 to 99 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.optimize import root_scalar
from scipy.stats import t as student

from s2robot.core.errors import UserError
from s2robot.statistics.paired import shrunk, square_and_add
from s2robot.statistics.rates import check_share

_SUREST = 1 - 1e-9


@dataclass(frozen=True)
class ArmRate:
    """The rate of an arm and where its variance comes from.

    Attributes:
        rate: successes per rollout.
        by_position: (P,) the rate at each position.
        of_seeds: variance of the rate from training anew; 0 where there is one seed, which does not tell.
        of_positions: variance of the rate from trying other positions.
        seeds: S.
    """

    rate: float
    by_position: np.ndarray
    of_seeds: float
    of_positions: float
    seeds: int

    @classmethod
    def of(cls, outcomes: Any) -> ArmRate:
        """From true and false, (S, P). Raises UserError for another shape or type, or P below 2."""
        table = _checked(outcomes)
        seeds, positions = table.shape
        by_position, rate = table.mean(0), float(table.mean())
        of_positions = float(by_position.var(ddof=1)) / positions
        of_seeds = 0.0
        if seeds > 1:
            by_seed = table.mean(1)
            rest = table - by_position - by_seed[:, None] + rate
            noise = float((rest**2).sum()) / ((seeds - 1) * (positions - 1))
            of_seeds = max(0.0, float(by_seed.var(ddof=1)) / seeds - noise / (seeds * positions))
        return cls(rate, by_position, of_seeds, of_positions, seeds)

    @property
    def variance(self) -> float:
        return self.of_seeds + self.of_positions

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) of the rate over seeds and positions. Raises UserError unless 0 < confidence < 1."""
        check_share("confidence", confidence)
        trials, freedom = self._effective()
        z = float(student.ppf((1 + confidence) / 2, freedom))
        middle = (self.rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
        half = z / (1 + z**2 / trials) * sqrt(self.rate * (1 - self.rate) / trials + z**2 / (4 * trials**2))
        return max(0.0, min(middle - half, self.rate)), min(1.0, max(middle + half, self.rate))

    def _effective(self) -> tuple[float, float]:
        """Trials that would be as sure if all were independent, and degrees of freedom."""
        positions = len(self.by_position)
        if self.variance == 0:  # all alike: the seeds may only repeat what the positions say
            return positions, positions - 1
        trials = min(self.rate * (1 - self.rate) / self.variance, self.seeds * positions)
        parts = [(self.of_positions, positions - 1), (self.of_seeds, self.seeds - 1)]
        return trials, self.variance**2 / sum(part**2 / free for part, free in parts if part)


@dataclass(frozen=True)
class ArmDifference:
    """Two arms on the same positions: the first's rate minus the second's."""

    first: ArmRate
    second: ArmRate

    @classmethod
    def of(cls, a: Any, b: Any) -> ArmDifference:
        """From outcomes (S, P) and (S', P). Raises UserError as `ArmRate.of`, and for another P."""
        first, second = ArmRate.of(a), ArmRate.of(b)
        counts = len(first.by_position), len(second.by_position)
        if counts[0] != counts[1]:
            raise UserError(
                f"{counts[0]} positions against {counts[1]}: arms are paired on the same positions"
            )
        return cls(first, second)

    @property
    def difference(self) -> float:
        return self.first.rate - self.second.rate

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) of the difference. Raises UserError unless 0 < confidence < 1."""
        first, second = ((arm.rate, *arm.interval(confidence)) for arm in (self.first, self.second))
        spread = sqrt(self.first.variance * self.second.variance)
        return square_and_add(first, second, self._covariance() / spread if spread else 0.0)

    def p(self) -> float:
        """The two-sided p value that goes with `interval`: 1 - p is the confidence at which it touches 0."""
        sign = np.sign(self.difference)

        def margin(confidence: float) -> float:
            low, high = self.interval(confidence)
            return low if sign > 0 else -high

        if sign == 0:
            return 1.0
        if margin(_SUREST) > 0:
            return 1 - _SUREST
        return 1 - float(root_scalar(margin, bracket=(1e-9, _SUREST)).root)

    @property
    def of_seeds(self) -> float:
        """Variance of the difference that no number of positions takes away."""
        return self.first.of_seeds + self.second.of_seeds

    @property
    def of_positions(self) -> float:
        """Variance of the difference that more positions take away."""
        return max(0.0, self.first.of_positions + self.second.of_positions - 2 * self._covariance())

    def _covariance(self) -> float:
        """Of the two rates: what they have in common is the positions."""
        a, b = self.first.by_position, self.second.by_position
        return shrunk(float(np.mean((a - a.mean()) * (b - b.mean()))), len(a)) / len(a)


def _checked(outcomes: Any) -> np.ndarray:
    array = np.asarray(outcomes)
    if array.dtype != bool or array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
        raise UserError(
            f"outcomes of type {array.dtype}, shape {array.shape}: expected true and false of shape "
            "(training seeds, positions) for at least 2 positions"
        )
    return array
