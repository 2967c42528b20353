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

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from s2robot.statistics.paired import Pairs
from s2robot.statistics.rates import check_share

_SHARES = (np.arange(32) + 0.5) / 32
"""Of the largest bet that cannot ruin."""
_DIFFERENCES = np.linspace(-1, 1, 401)


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


def _log_wealth(pairs: Pairs, difference: np.ndarray) -> np.ndarray:
    """(D,): the logarithm of what one has after betting against each true difference (D,), within -1..1."""
    d = difference[:, None]
    stakes = np.concatenate([_SHARES / (1 + d), -_SHARES / (1 - d)], axis=1)
    gains = {1: pairs.only_first, -1: pairs.only_second, 0: pairs.both + pairs.neither}
    wealth = sum(count * np.log1p(stakes * (gain - d)) for gain, count in gains.items())
    return logsumexp(wealth, axis=1) - np.log(stakes.shape[1])
