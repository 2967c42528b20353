"""All that is told about arms on one set of positions: for the terminal, for programs, for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from s2robot import failures
from s2robot.compare.judge import PARTS, Comparison, check_positions, compare, percent, rate_interval
from s2robot.compare.read import Arm, Evaluation, Position
from s2robot.statistics.rates import wilson


@dataclass(frozen=True)
class Row:
    """The rate of an arm, or of one of the evaluations of an arm that has several.

    Attributes:
        seeds: how many training seeds it is over.
        is_member: whether it is one evaluation of an arm that has a row of its own above.
        failed: how many failed in which way, where the evaluations say so.
    """

    name: str
    seeds: int
    is_member: bool
    successes: int
    trials: int
    low: float
    high: float
    failed: dict[str, int]

    @property
    def rate(self) -> float:
        return self.successes / self.trials

    @property
    def label(self) -> str:
        return f"{self.name} ({self.seeds} training seeds)" if self.seeds > 1 else self.name


@dataclass(frozen=True)
class Part:
    """Arms on one set of positions.

    Attributes:
        title: `16 positions`, `100 further positions`.
        positions: in the order of the evaluations.
        outcomes: name of an evaluation -> its outcomes in that order.
    """

    title: str
    rows: list[Row]
    comparisons: list[Comparison]
    positions: list[Position]
    outcomes: dict[str, list[Mapping[str, Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, fit for JSON."""
        rows = [asdict(row) | {"success_rate": row.rate} for row in self.rows]
        return {
            "title": self.title,
            "rates": rows,
            "comparisons": [
                asdict(c) | {"pairs": c.pairs and c.pairs._asdict(), "sentence": c.sentence()}
                for c in self.comparisons
            ],
        }


def examine(compared: Sequence[Arm], part: str, confidence: float, **how: Any) -> Part:
    """The rates of the arms on one part of the positions, compared as `judge.compare` does, which raises."""
    evaluations = [evaluation for arm in compared for evaluation in arm.evaluations]
    check_positions(evaluations, part)
    outcomes = {evaluation.name: list(evaluation.outcomes(part).values()) for evaluation in evaluations}
    positions = list(evaluations[0].outcomes(part))
    return Part(
        title=f"{len(positions)} {PARTS[part] if len(positions) > 1 else PARTS[part].removesuffix('s')}",
        rows=[row for arm in compared for row in _rows(arm, part, confidence)],
        comparisons=compare(compared, part, confidence=confidence, **how),
        positions=positions,
        outcomes=outcomes,
    )


def tried_by(compared: Sequence[Arm], part: str) -> list[Evaluation]:
    """The evaluations that have outcomes on this part of the positions."""
    return [e for arm in compared for e in arm.evaluations if e.result(part) is not None]


def lines(part: Part) -> Iterable[str]:
    """For the terminal: the rates in columns, then a sentence for every two arms."""
    names = [("  " if row.is_member else "") + row.label for row in part.rows]
    width = max(len(part.title), *map(len, names))
    yield f"{part.title:{width}}  successes   rate  interval"
    for name, row in zip(names, part.rows, strict=True):
        count = f"{row.successes}/{row.trials}"
        limits = f"{percent(row.low)}-{percent(row.high)} %"
        failed = f"  {', '.join(f'{n} {kind}' for kind, n in row.failed.items())}" if row.failed else ""
        yield f"{name:{width}}  {count:>9}  {percent(row.rate):>3} %  {limits:9}{failed}".rstrip()
    yield from (comparison.sentence() for comparison in part.comparisons)


def _rows(arm: Arm, part: str, confidence: float) -> Iterable[Row]:
    table = arm.table(part)
    several = len(arm.evaluations) > 1
    outcomes = [outcome for e in arm.evaluations for outcome in e.outcomes(part).values()]
    limits = rate_interval(arm, part, confidence)
    failed = failures.count(outcomes)
    yield Row(arm.name, len(table), False, int(table.sum()), table.size, *limits, failed=failed)
    for evaluation, successes in zip(arm.evaluations, table.sum(axis=1).tolist(), strict=True):
        if several:
            limits = wilson(successes, table.shape[1], confidence)
            failed = failures.count(evaluation.outcomes(part).values())
            yield Row(evaluation.name, 1, True, successes, table.shape[1], *limits, failed=failed)
