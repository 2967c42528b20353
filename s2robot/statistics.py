"""How sure a count of successes makes us: intervals for one policy, a paired test for two."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from s2robot.errors import UserError


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a success rate: (low, high) in 0..1.

    Raises UserError unless `0 <= successes <= trials`, `trials >= 1` and `0 < confidence < 1`.
    """
    return _interval(successes, trials, confidence, "wilson")


def exact(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a success rate: (low, high) in 0..1, never too narrow.

    Raises UserError unless `0 <= successes <= trials`, `trials >= 1` and `0 < confidence < 1`.
    """
    return _interval(successes, trials, confidence, "exact")


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """The exact two-sided p value of two policies tried on the same positions.

    Only the positions where one succeeds and the other fails tell them apart; without any, p is 1.

    Args:
        a, b: the outcomes of both policies, position by position: one length, at least one position.

    Raises:
        UserError: lengths that differ, no outcomes, or outcomes that are not true or false.
    """
    first, second = _outcomes(a), _outcomes(b)
    if len(first) != len(second):
        raise UserError(
            f"{len(first)} outcomes against {len(second)}: paired outcomes need the same positions"
        )
    only_first = int((first & ~second).sum())
    discordant = int((first ^ second).sum())
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def _interval(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"]
) -> tuple[float, float]:
    if not (isinstance(successes, Integral) and isinstance(trials, Integral)):
        raise UserError(f"{successes!r} successes in {trials!r} trials: expected whole numbers")
    if trials < 1 or not 0 <= successes <= trials:
        raise UserError(
            f"{successes} successes in {trials} trials: expected 0 <= successes <= trials, trials >= 1"
        )
    if not 0 < confidence < 1:
        raise UserError(f"confidence {confidence}: expected a number between 0 and 1, such as 0.95")
    low, high = binomtest(successes, trials).proportion_ci(confidence, method)
    return float(low), float(high)


def _outcomes(values: Sequence[bool]) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0:
        raise UserError("no outcomes to compare: expected one true or false for each position")
    if array.dtype != bool or array.ndim != 1:
        raise UserError(
            f"outcomes of type {array.dtype}, shape {array.shape}: expected a list of true and false"
        )
    return array
