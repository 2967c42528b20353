"""How many positions are needed to tell two success rates apart.

The paper's own comparison (S² paper, Table 10): 7 of 16 against 10 of 16 is no difference that 16 trials can
show (Fisher's p = 0.48). Rates of 7/16 and 10/16 need

>>> positions_unpaired(7 / 16, 10 / 16)
123

positions each, different ones for each policy, for Fisher's test to find the difference four times in five;
on the same positions, if one policy alone succeeds at 4/16 and the other alone at 1/16,

>>> positions_paired(4 / 16, 1 / 16)
74
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom, norm

from s2robot.core.errors import UserError
from s2robot.statistics.rates import check_share

_EXACT_UP_TO = 300  # positions: beyond, the approximations are near enough
_STEADY = 5  # exact power goes up in a zigzag: that many sizes in a row must have it


def fisher_power(first: float, second: float, positions: int, level: float = 0.05) -> float:
    """The probability that Fisher's exact test tells two rates apart, `positions` independent trials each.

    Summed over all outcomes; two-sided. Raises UserError for rates outside 0..1 and other impossible numbers.
    """
    _check(first, second, positions, level)
    total, one = np.arange(2 * positions + 1)[:, None], np.arange(positions + 1)
    other = total - one
    possible = (other >= 0) & (other <= positions)
    other = np.clip(other, 0, positions)
    ways = _log_choose(positions)
    under_null = np.exp(ways[one] + ways[other] - _log_choose(2 * positions)[total]) * possible
    # With as many trials on both sides it is symmetric: p is twice the tail.
    fewer = possible & (one < other) & (2 * np.cumsum(under_null, axis=1) <= level * (1 + 1e-9))
    p, q = (binom.pmf(one, positions, rate) for rate in (first, second))
    return float(np.sum((p[one] * q[other] + q[one] * p[other]) * fewer))


def positions_unpaired(first: float, second: float, power: float = 0.8, level: float = 0.05) -> int | None:
    """The positions each policy needs, no position shared, for Fisher's test to have that power.

    Up to 300 or so exactly, beyond by Casagrande, Pike and Smith's formula (Biometrics 34, 1978, pp.
    483-486). None for equal rates: no number is enough. Raises UserError as `fisher_power`.
    """
    _check(first, second, 1, level)
    check_share("power", power)
    if first == second:
        return None
    z_level, z_power = norm.isf(level / 2), norm.ppf(power)
    middle, gap = (first + second) / 2, abs(first - second)
    each = sqrt(first * (1 - first) + second * (1 - second))
    a = (z_level * sqrt(2 * middle * (1 - middle)) + z_power * each) ** 2
    about = ceil(a * (1 + sqrt(1 + 4 * gap / a)) ** 2 / (4 * gap**2))
    return _smallest(lambda n: fisher_power(first, second, n, level), about, power)


def mcnemar_power(only_first: float, only_second: float, positions: int, level: float = 0.05) -> float:
    """The probability that the exact McNemar test tells two policies apart on `positions` shared positions.

    Args:
        only_first, only_second: share of the positions where only the first, or only the second, succeeds.

    Raises UserError for shares that are none or add up to more than 1, and other impossible numbers.
    """
    _check(only_first, only_second, positions, level)
    discordant = only_first + only_second
    if discordant > 1 + 1e-12:
        raise UserError(f"only_first={only_first} only_second={only_second}: together more than 1")
    if discordant == 0:
        return 0.0
    m = np.arange(positions + 1)  # how many positions tell the policies apart
    limit = binom.ppf(level / 2, m, 0.5)
    limit -= (
        binom.cdf(limit, m, 0.5) > level / 2
    )  # so few successes of one, or fewer, and p is at most the level
    share = only_first / discordant
    found = binom.cdf(limit, m, share) + binom.sf(m - limit - 1, m, share)
    return float(binom.pmf(m, positions, min(1.0, discordant)) @ found)


def positions_paired(
    only_first: float, only_second: float, power: float = 0.8, level: float = 0.05
) -> int | None:
    """The shared positions that the exact McNemar test needs to have that power.

    Up to 300 or so exactly, beyond by Connor's formula (Biometrics 43, 1987, pp. 207-211). None for equal
    shares: no number is enough. Raises UserError as `mcnemar_power`.
    """
    mcnemar_power(only_first, only_second, 1, level)
    check_share("power", power)
    discordant, gap = only_first + only_second, abs(only_first - only_second)
    if gap == 0:
        return None
    z_level, z_power = norm.isf(level / 2), norm.ppf(power)
    about = ceil((z_level * sqrt(discordant) + z_power * sqrt(discordant - gap**2)) ** 2 / gap**2)
    return _smallest(lambda n: mcnemar_power(only_first, only_second, n, level), about, power)


def positions_over_seeds(
    difference: float,
    of_seeds: float,
    of_positions: float,
    positions: int,
    power: float = 0.8,
    level: float = 0.05,
) -> int | None:
    """The positions at which that many training seeds would tell two arms apart; None where none are enough.

    Args:
        difference: of the rates, taken for true.
        of_seeds, of_positions: its variance with `positions` positions, see `seeds.ArmDifference`.
    """
    check_share("power", power)
    check_share("level", level)
    allowed = (difference / (norm.isf(level / 2) + norm.ppf(power))) ** 2 - of_seeds
    return max(1, ceil(positions * of_positions / allowed)) if allowed > 0 else None


def _log_choose(n: int) -> np.ndarray:
    """(n + 1,): the logarithm of n over k."""
    k = np.arange(n + 1)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _smallest(power_at: Callable[[int], float], about: int, power: float) -> int:
    """The first of `_STEADY` sizes in a row that have the power, sought from below the approximation."""
    if about > _EXACT_UP_TO:
        return about
    size, row = max(1, about - max(10, about // 20)), 0
    while row < _STEADY:
        row = row + 1 if power_at(size) >= power else 0
        size += 1
    return size - _STEADY


def _check(first: float, second: float, positions: int, level: float) -> None:
    for share in (first, second):
        if not 0 <= share <= 1:
            raise UserError(f"a share of {share}: expected a number from 0 to 1")
    if positions < 1:
        raise UserError(f"{positions} positions: expected at least 1")
    check_share("level", level)
