"""One recommendation from probe errors: the cheapest model, unless a dearer one beats all that cost less.

Nothing is claimed that the intervals do not hold; they hold together with 95 % confidence (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

_CONFIDENCE = 0.95
_HARDLY = 0.5  # of the baseline: heads that are further off have learned little of what they read


@dataclass(frozen=True)
class CandidateErrors:
    """An encoder at a set of image sizes, and how far off a head is that reads from its features.

    Attributes:
        macs: multiply-accumulates of one frame.
        larger: whether it is the larger of the two models.
        errors: (E,), of each episode, by heads that did not see it.
    """

    name: str
    macs: int
    larger: bool
    errors: np.ndarray


@dataclass(frozen=True)
class Gain:
    """By how much less `second` is off than `first`, episode by episode.

    Attributes:
        mean, standard_error: in the unit of the errors. low, high: the interval.
    """

    first: str
    second: str
    mean: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class Recommendation:
    """What to take (None: the heads read nothing), why in words, and every comparison that led there."""

    choice: str | None
    larger: bool
    words: str
    gains: tuple[Gain, ...]


def recommend(
    candidates: Sequence[CandidateErrors],
    fold: np.ndarray,
    what: str,
    unit: str,
    least_gain: float = 0.0,
    baseline: float = math.inf,
) -> Recommendation:
    """From the cheapest candidate on, to a dearer one only where it is shown to gain more than `least_gain`.

    And that over every cheaper one: else a larger model could be worth it that S² is as good as.

    Args:
        candidates: at least one of the smaller model and one of the larger.
        fold: (E,), the fold that held each episode out.
        what: what is read, such as `the cube`. unit: of the errors, of `least_gain` and of `baseline`.
        baseline: mean error of predicting the mean target.
    """
    order = sorted(candidates, key=lambda candidate: candidate.macs)
    if (best := min(order, key=_off)).errors.mean() >= baseline:
        return Recommendation(None, False, _nothing(best, what, unit, baseline), ())
    confidence = 1 - (1 - _CONFIDENCE) / math.comb(len(order), 2)  # which pairs are met depends on the data
    choice, gains = order[0], []
    for number, other in enumerate(order[1:], 1):
        found = [gain(cheaper, other, fold, confidence) for cheaper in order[:number]]
        gains.append(next(g for g in found if g.first == choice.name))
        weakest = min(found, key=lambda g: g.low)
        if weakest.low > least_gain:
            choice = other
        elif gains[-1].low > least_gain:
            gains.append(weakest)  # what keeps it from being chosen
    sentence = f"On these frames {choice.name} is worth it."
    against = None
    if not choice.larger:
        against = gain(choice, min((c for c in candidates if c.larger), key=_off), fold, confidence)
        sentence = _about_larger(against, candidates, what, unit, least_gain)
    steps = [_step(g, candidates, what, unit, least_gain) for g in gains if g != against]
    gains += [against] if against and against not in gains else []
    doubt = [_doubt(best, what, unit, baseline)] if best.errors.mean() >= _HARDLY * baseline else []
    return Recommendation(choice.name, choice.larger, " ".join([*doubt, sentence, *steps]), tuple(gains))


def _off(candidate: CandidateErrors) -> float:
    return float(candidate.errors.mean())


def _nothing(best: CandidateErrors, what: str, unit: str, baseline: float) -> str:
    return (
        f"No recommendation: no head reads {what} in these frames. The best, {best.name}, is "
        f"{_off(best):.2f} {unit} off; predicting the mean is {baseline:.2f} {unit} off."
    )


def _doubt(best: CandidateErrors, what: str, unit: str, baseline: float) -> str:
    return (
        f"Little to go by: the best head, of {best.name}, reads {what} hardly better than guessing "
        f"({_off(best):.2f} {unit} off; predicting the mean is {baseline:.2f} {unit} off). More demos, or "
        "encoders that know such frames, may turn what follows around."
    )


def gain(
    first: CandidateErrors, second: CandidateErrors, fold: np.ndarray, confidence: float = _CONFIDENCE
) -> Gain:
    """Paired by episode. The standard error is the larger of two: over episodes, which knows nothing of how
    heads happened to train, and over folds, corrected for training sets that overlap (Nadeau and Bengio
    2003). The interval is Student's.
    """
    difference = first.errors - second.errors
    folds = np.array([difference[fold == number].mean() for number in np.unique(fold)])
    over_folds = folds.std(ddof=1) * np.sqrt(1 / len(folds) + 1 / (len(folds) - 1))
    over_episodes = difference.std(ddof=1) / np.sqrt(len(difference))
    error, freedom = max((over_episodes, len(difference) - 1), (over_folds, len(folds) - 1))
    half = error * student.ppf((1 + confidence) / 2, freedom)
    mean = difference.mean()
    return Gain(first.name, second.name, *(float(x) for x in (mean, error, mean - half, mean + half)))


def _about_larger(
    against: Gain, candidates: Sequence[CandidateErrors], what: str, unit: str, least_gain: float
) -> str:
    """Of the larger model, where another was chosen."""
    macs = {candidate.name: candidate.macs for candidate in candidates}
    chosen, larger, margin = against.first, against.second, _margin(against, unit)
    if (times := macs[chosen] / macs[larger]) > 1:
        larger += f" (which takes only 1/{times:.1f} of the multiply-accumulates)"
    if against.low > least_gain:
        return (
            f"On these frames a larger model is not shown to be worth it: {larger} reads {what} {margin} "
            f"better than {chosen}, but is not shown to read it better than all that costs less."
        )
    if against.high < 0:
        return (
            f"On these frames a larger model is not worth it: {chosen} reads {what} {margin} better than "
            f"{larger}."
        )
    if against.high <= least_gain:
        return (
            f"On these frames a larger model is not worth it: {larger} gains at most {against.high:.2f} "
            f"{unit} over {chosen}, and {least_gain:g} {unit} is the least that counts."
        )
    return (
        f"On these frames a larger model is not shown to be worth it: {larger} gains {margin} over {chosen} "
        f"in reading {what}; up to {against.high:.2f} {unit} is not ruled out, more demos would tell."
    )


def _step(g: Gain, candidates: Sequence[CandidateErrors], what: str, unit: str, least_gain: float) -> str:
    """Of one step from a cheaper candidate to a dearer one."""
    macs = {candidate.name: candidate.macs for candidate in candidates}
    cost = f"{macs[g.second] / macs[g.first]:.1f} times the multiply-accumulates"
    if g.low > least_gain:
        return f"{g.second} reads {what} {_margin(g, unit)} better than {g.first}, for {cost}."
    if g.high < 0:
        return f"{g.second} reads {what} {_margin(g, unit)} worse than {g.first}, for {cost}."
    better = f"more than {least_gain:g} {unit} better" if least_gain else "better"
    return f"{g.second} is not shown to read {what} {better} than {g.first} ({_signed(g, unit)}), for {cost}."


def _margin(g: Gain, unit: str) -> str:
    """`0.41 +- 0.10 cm`; the sign only where the interval leaves it open."""
    mean = g.mean if g.low <= 0 <= g.high else abs(g.mean)
    return f"{mean:.2f} +- {g.standard_error:.2f} {unit}"


def _signed(g: Gain, unit: str) -> str:
    return f"gain {g.mean:.2f} +- {g.standard_error:.2f} {unit}, interval {g.low:.2f} to {g.high:.2f}"
