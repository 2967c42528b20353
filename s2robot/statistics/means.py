"""Means of scores from 0 to 1, such as progress, and of paired differences: intervals.

`bootstrap_interval` is for one look. `anytime_mean_interval` holds at all looks together: at each value one
bets against each candidate mean, a share of one's wealth that does not depend on that value; candidates
against which the wealth ever exceeds 1 / (1 - confidence) are excluded (Ville's inequality). The bets are
those of Waudby-Smith and Ramdas, Journal of the Royal Statistical Society B 86, 2024 (hedged capital,
predictable plug-in).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s2robot.core.errors import UserError
from s2robot.statistics.rates import check_share

_DRAWS = 10_000
_MEANS = np.linspace(0, 1, 1001)


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean; of paired differences, give the differences.

    Raises UserError for no values, and unless 0 < confidence < 1.
    """
    array = _checked(values)
    check_share("confidence", confidence)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(len(array), size=(_DRAWS, len(array)))].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def anytime_mean_interval(
    values: Sequence[float], confidence: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """The interval of a mean of values within `bounds`, in their order, that holds at all looks together.

    It is rounded outwards to a thousandth of the bounds. Raises UserError for no values, values out of
    bounds, and unless 0 < confidence < 1.
    """
    check_share("confidence", confidence)
    low, high = bounds
    array = (_checked(values) - low) / (high - low)
    if array.min() < 0 or array.max() > 1:
        raise UserError(f"values from {min(values)} to {max(values)}: expected {low} to {high}")
    shares = _shares(array, confidence)
    wealth = np.maximum(_log_wealth(array, shares, 1), _log_wealth(array, shares, -1)) - np.log(2)
    held = np.flatnonzero(wealth < max(-np.log1p(-confidence), wealth.min() + 1e-12))
    first, last = max(held[0] - 1, 0), min(held[-1] + 1, len(_MEANS) - 1)
    return float(low + (high - low) * _MEANS[first]), float(low + (high - low) * _MEANS[last])


def _shares(array: np.ndarray, confidence: float) -> np.ndarray:
    """(T,): what is bet at each value, from those before it alone."""
    count = np.arange(1, len(array) + 1)
    mean = (0.5 + np.cumsum(array)) / (count + 1)
    variance = (0.25 + np.cumsum((array - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.sqrt(2 * np.log(2 / (1 - confidence)) / (before * count * np.log1p(count)))


def _log_wealth(array: np.ndarray, shares: np.ndarray, sign: int) -> np.ndarray:
    """(M,): the largest that the logarithm of the wealth ever was, of betting that the mean is larger
    (`sign` 1) or smaller (-1) than each candidate."""
    room = _MEANS if sign > 0 else 1 - _MEANS
    with np.errstate(divide="ignore"):
        bets = np.minimum(shares[:, None], 0.5 / room)
    gains = np.log1p(sign * bets * (array[:, None] - _MEANS))
    return np.cumsum(gains, axis=0).max(axis=0)


def _checked(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise UserError(f"{len(array)} values: expected at least one, all of them finite")
    return array
