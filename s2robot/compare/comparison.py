"""What two arms tried from the same starts tell about each other: a difference, its interval, a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, floor, log10
from typing import Any

import numpy as np

from s2robot.compare.read import Arm, Evaluation, Trial
from s2robot.core.errors import UserError
from s2robot.statistics.paired import Pairs, holm, mcnemar, newcombe
from s2robot.statistics.power import positions_over_seeds, positions_paired
from s2robot.statistics.seeds import ArmDifference
from s2robot.statistics.sequential import anytime_interval, anytime_p, positions_anytime

PARTS = {"starts": "starts", "random_starts": "random starts"}
"""Of an evaluation, and what they are called."""

ONE_LOOK = "Newcombe's interval, exact McNemar test"
ANYTIME = "interval and test that hold at all looks together"
OVER_SEEDS = "interval and test over training seeds and starts"


@dataclass(frozen=True)
class Comparison:
    """Two arms.

    Attributes:
        difference: the first's rate minus the second's; `low` to `high` is its interval.
        p: of equal arms; `p_holm` after Holm's correction for all comparisons on these starts.
        pairs: the counts of starts, where both arms have one training seed.
        needed: starts at which the difference, if it is the true one, would be found four times in five;
            None where no number of starts is enough.
        method: what interval and p are.
        confidence: of the interval.
        separated: whether both the interval and the corrected p say so.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    pairs: Pairs | None
    needed: int | None
    method: str
    confidence: float
    separated: bool

    def turned(self) -> Comparison:
        """The second against the first."""
        pairs = self.pairs and self.pairs._replace(
            only_first=self.pairs.only_second, only_second=self.pairs.only_first
        )
        return replace(
            self,
            first=self.second,
            second=self.first,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            pairs=pairs,
        )

    def sentence(self) -> str:
        """`a v b: not separated: difference +6 pp (95 % interval -3 to +15), p = 0.2; about 90 ...`."""
        outcome = "separated" if self.separated else "not separated"
        limits = f"{percent(self.low, sign=True)} to {percent(self.high, sign=True)}"
        interval = f"{100 * self.confidence:g} % interval {limits}"
        text = (
            f"{self.first} v {self.second}: {outcome}: "
            f"difference {percent(self.difference, sign=True)} pp ({interval}), {p_in_words(self.p)}"
        )
        if self.p_holm != self.p:
            text += f" ({p_in_words(self.p_holm)} after Holm's correction)"
        return text if self.separated else f"{text}; {self._outlook()}"

    def _outlook(self) -> str:
        if self.difference == 0:
            return "no number of starts tells equal rates apart"
        if self.needed is None:
            return "more starts would not do, the training seeds differ too much: more seeds are needed"
        return f"about {rounded_up(self.needed)} starts would be needed"


def compare(
    compared: Sequence[Arm],
    part: str,
    *,
    confidence: float = 0.95,
    anytime: bool = False,
    first_alone: bool = False,
) -> list[Comparison]:
    """Every two arms, or the first with every other one.

    Raises UserError where the starts are not the same, and for `anytime` where an arm has several training
    seeds.
    """
    order = common_trials([evaluation for arm in compared for evaluation in arm.evaluations], part)
    pairs = [(a, b) for a, b in combinations(compared, 2) if not first_alone or a is compared[0]]
    level = (1 - confidence) / max(1, len(pairs))
    found, how = [], (confidence, anytime, level)
    for a, b in pairs:
        first, second = a.table(part, order), b.table(part, order)
        if len(first) == len(second) == 1:
            found.append(_one_training(first[0].tolist(), second[0].tolist(), *how))
        elif anytime:
            raise UserError(f"{a.name} v {b.name}: anytime=true compares arms of one training seed each")
        else:
            found.append(_several_trainings(first, second, confidence, level))
    corrected = holm([numbers["p"] for numbers in found])
    return [
        Comparison(
            a.name,
            b.name,
            **numbers,
            p_holm=p,
            confidence=confidence,
            separated=_excludes_zero(numbers) and p <= 1 - confidence,
        )
        for (a, b), numbers, p in zip(pairs, found, corrected, strict=True)
    ]


def common_trials(evaluations: Sequence[Evaluation], part: str) -> list[Trial]:
    """In the first one's order. Raises UserError, which says what differs, unless all have the same."""
    first, *others = evaluations
    mine = list(first.outcomes(part))
    for other in others:
        theirs = list(other.outcomes(part))
        if set(mine) != set(theirs):
            raise UserError(
                f"{first.path} and {other.path} were not tried on the same {PARTS[part]}: "
                f"{_what_differs(mine, theirs)}; only outcomes on the same ones are paired"
            )
    return mine


def percent(share: float, sign: bool = False) -> str:
    """In percent: whole numbers, and a decimal below 1 % so that what is not 0 is not shown as 0."""
    value = 100 * share
    digits = 1 if 0 < abs(value) < 1 else 0
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return "0" if float(text) == 0 else text


def p_in_words(p: float) -> str:
    """`p = 0.2`, `p < 0.001`. Never rounded across 0.05."""
    if p < 0.001:
        return "p < 0.001"
    texts = (f"{p:.{digits}g}" for digits in range(2, 18))
    return f"p = {next(text for text in texts if (float(text) <= 0.05) == (p <= 0.05))}"


def rounded_up(count: int) -> int:
    """To two digits that count: 123 -> 130."""
    step = 10 ** max(0, floor(log10(count)) - 1)
    return step * ceil(count / step)


def _one_training(
    first: list[bool], second: list[bool], confidence: float, anytime: bool, level: float
) -> dict[str, Any]:
    """What a comparison says of outcomes (P,) of one training seed each."""
    pairs = Pairs.of(first, second)
    p, limits = (anytime_p, anytime_interval) if anytime else (mcnemar, newcombe)
    needed = positions_anytime if anytime else positions_paired
    low, high = limits(first, second, confidence)
    alone = pairs.only_first / sum(pairs), pairs.only_second / sum(pairs)
    return {
        "difference": pairs.difference,
        "low": low,
        "high": high,
        "p": p(first, second),
        "pairs": pairs,
        "needed": needed(*alone, level=level),
        "method": ANYTIME if anytime else ONE_LOOK,
    }


def _several_trainings(
    first: np.ndarray, second: np.ndarray, confidence: float, level: float
) -> dict[str, Any]:
    """What a comparison says of outcomes (S, P) and (S', P)."""
    whole = ArmDifference.of(first, second)
    low, high = whole.interval(confidence)
    spread = whole.of_seeds, whole.of_positions
    needed = positions_over_seeds(whole.difference, *spread, positions=first.shape[1], level=level)
    return {
        "difference": whole.difference,
        "low": low,
        "high": high,
        "p": whole.p(),
        "pairs": None,
        "needed": needed,
        "method": OVER_SEEDS,
    }


def _excludes_zero(numbers: Mapping[str, Any]) -> bool:
    return numbers["low"] > 0 or numbers["high"] < 0


def _what_differs(mine: Sequence[Trial], theirs: Sequence[Trial]) -> str:
    if len(mine) != len(theirs):
        return f"{len(mine)} against {len(theirs)}"
    different = [i for i, (p, q) in enumerate(zip(mine, theirs, strict=True)) if p != q]
    if [trial.start for trial in mine] == [trial.start for trial in theirs]:
        return f"{len(different)} of {len(mine)} started from another seed (evaluate's seed=)"
    i = different[0]
    shown = " against ".join(f"{trial.start} seed {trial.seed}" for trial in (mine[i], theirs[i]))
    return f"{len(different)} of {len(mine)} differ, the first is start {i}: {shown}"
