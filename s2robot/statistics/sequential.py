"""Looking at a paired comparison before its end, as often as one likes, without cheating.

McNemar's p is meant for one look. Who looks after every few positions and stops at p <= 0.05 is wrong far
more often than 1 time in 20. These p values and intervals hold at all looks together: the probability that p
is ever at most 0.05 although the policies are equal, and that the interval ever misses the true difference,
is at most 0.05, whenever and for whatever reason one stops. They cost some power: more positions than
McNemar's one look.

How: at each position one bets a share of one's wealth on the first policy, or on the second, at odds that are
fair if the true difference is d. Then wealth is a martingale that starts at 1, and exceeds 1/0.05 ever with a
probability of at most 0.05 (Ville's inequality). Wealth is averaged over a fixed range of shares, so it
depends on the counts alone. (Robbins, Annals of Mathematical Statistics 41, 1970; Waudby-Smith and Ramdas,
Journal of the Royal Statistical Society B 86, 2024.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom

from s2robot.statistics.paired import Pairs
from s2robot.statistics.power import positions_paired
from s2robot.statistics.rates import check_share

_SHARES = (np.arange(32) + 0.5) / 32
"""Of the largest bet that cannot ruin."""
_DIFFERENCES = np.linspace(-1, 1, 401)
_MOST_DISCORDANT = 1_000


def anytime_p(a: Sequence[bool], b: Sequence[bool]) -> float:
    """The p value of equal policies, valid however often one looks. Raises UserError as `mcnemar`."""
    wealth = _log_wealth(Pairs.of(a, b), np.zeros(1))[0]
    return float(min(1.0, np.exp(-wealth)))


def anytime_interval(a: Sequence[bool], b: Sequence[bool], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the difference that holds at all looks together, to 0.005 outwards.

    Raises UserError as `mcnemar`, and unless 0 < confidence < 1.
    """
    check_share("confidence", confidence)
    wealth = _log_wealth(Pairs.of(a, b), _DIFFERENCES[1:-1])
    held = np.flatnonzero(wealth < -np.log1p(-confidence))
    return float(_DIFFERENCES[held[0]]), float(_DIFFERENCES[held[-1] + 2])


def positions_anytime(
    only_first: float, only_second: float, power: float = 0.8, level: float = 0.05
) -> int | None:
    """The shared positions after which `anytime_p` is at most `level` with that probability.

    Looks before that can only find the difference earlier. Exact where one look needs up to 1,000 positions
    that tell the policies apart, beyond three times what it needs. None for equal shares: no number is
    enough. Raises UserError as `positions_paired`.

    >>> positions_anytime(4 / 16, 1 / 16)  # one look needs 74
    124
    """
    one_look = positions_paired(only_first, only_second, power, level)
    if one_look is None or one_look * (only_first + only_second) > _MOST_DISCORDANT:
        return one_look and 3 * one_look
    discordant = only_first + only_second
    most = 4 * one_look
    m = np.arange(
        1 + int(binom.isf(1e-9, most, discordant).item())
    )  # how many positions tell the policies apart
    wins = np.array(list(islice(_wins_that_reject(level), len(m))))
    share = only_first / discordant
    found = binom.sf(wins - 1, m, share) + binom.cdf(m - wins, m, share)

    def power_at(positions: int) -> float:
        return float(binom.pmf(m, positions, discordant) @ found)

    low, high = one_look - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


def _wins_that_reject(level: float) -> Iterator[int]:
    """For 0, 1, ... positions that tell the policies apart: of how many of them the first must be the better
    for equality to be rejected at that level.
    """
    limit, wins = -np.log(level), 0
    for count in itertools.count():
        while 2 * wins < count or (wins <= count and _log_wealth_of_equals(wins, count - wins) < limit):
            wins += 1
        yield wins


def _log_wealth_of_equals(wins: int, losses: int) -> float:
    """The logarithm of what one has after betting against equal policies; other positions change nothing."""
    return float(_log_wealth(Pairs(0, wins, losses, 0), np.zeros(1))[0])


def _log_wealth(pairs: Pairs, difference: np.ndarray) -> np.ndarray:
    """(D,): the logarithm of what one has after betting against each true difference (D,), within -1..1."""
    d = difference[:, None]
    stakes = np.concatenate([_SHARES / (1 + d), -_SHARES / (1 - d)], axis=1)
    gains = {1: pairs.only_first, -1: pairs.only_second, 0: pairs.both + pairs.neither}
    wealth = sum(count * np.log1p(stakes * (gain - d)) for gain, count in gains.items())
    return logsumexp(wealth, axis=1) - np.log(stakes.shape[1])
