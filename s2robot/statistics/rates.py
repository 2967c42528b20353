"""One success rate and how sure a count makes us of it."""

from __future__ import annotations

from numbers import Integral
from typing import Literal

from s2robot.core.errors import UserError


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


def check_share(name: str, value: float) -> None:
    """Raises UserError for what must lie between 0 and 1 (a confidence, a level, a power) and does not."""
    if not 0 < value < 1:
        raise UserError(f"{name} {value}: expected a number between 0 and 1, such as 0.95")


def _interval(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"]
) -> tuple[float, float]:
    if not (isinstance(successes, Integral) and isinstance(trials, Integral)):
        raise UserError(f"{successes!r} successes in {trials!r} trials: expected whole numbers")
    if trials < 1 or not 0 <= successes <= trials:
        raise UserError(
            f"{successes} successes in {trials} trials: expected 0 <= successes <= trials, trials >= 1"
        )
    check_share("confidence", confidence)
    from scipy.stats import binomtest  # here: its import takes a second, which most commands need not wait

    low, high = binomtest(successes, trials).proportion_ci(confidence, method)
    return float(low), float(high)
