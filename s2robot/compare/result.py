"""What is reported of arms tried from one set of starts: for the terminal, for programs, for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from s2robot.compare.comparison import PARTS, Comparison, common_trials, compare, percent
from s2robot.compare.progress import MeanProgress, mean_progress
from s2robot.compare.read import Arm, Evaluation, Trial, arms, read
from s2robot.reports.result import count_failures
from s2robot.statistics.rates import wilson
from s2robot.statistics.seeds import ArmRate

MOST_SENTENCES = 3
"""So many comparisons are told one by one; of more there is a matrix."""


@dataclass(frozen=True)
class Row:
    """The rate of an arm, or of one of the evaluations of an arm that has several.

    Attributes:
        seeds: how many training seeds it is over.
        is_member: whether it is one evaluation of an arm that has a row of its own above.
        failed: how many failed for which reason, where the evaluations say so.
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
class Outcomes:
    """Arms tried from one set of starts.

    Attributes:
        title: `16 starts`, `100 random starts`.
        trials: in the order of the evaluations.
        rollouts: name of an evaluation -> its rollouts, in that order.
        progress: of the arms and their differences; empty where it is not told.
    """

    title: str
    rows: list[Row]
    comparisons: list[Comparison]
    trials: list[Trial]
    rollouts: dict[str, list[Mapping[str, Any]]]
    progress: list[MeanProgress]

    @property
    def ranked(self) -> list[Row]:
        """The rows, of more than two arms the highest rate first; members stay below their arm."""
        groups: list[list[Row]] = []
        for row in self.rows:
            if row.is_member:
                groups[-1].append(row)
            else:
                groups.append([row])
        if len(groups) > 2:
            groups.sort(key=lambda group: -group[0].rate)
        return [row for group in groups for row in group]

    @property
    def arm_rows(self) -> list[Row]:
        """One for each arm, ranked."""
        return [row for row in self.ranked if not row.is_member]

    def matrix(self) -> list[list[Comparison | None]]:
        """Of the ranked arms: each row's against each column's; None for itself and where not compared."""
        found = {(c.first, c.second): c for c in self.comparisons}
        found |= {(c.second, c.first): c.turned() for c in self.comparisons}
        names = [row.name for row in self.arm_rows]
        return [[found.get((first, second)) for second in names] for first in names]

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
            **({"progress": [asdict(p) for p in self.progress]} if self.progress else {}),
        }


def compare_evaluations(*evaluations: str | Path, confidence: float = 0.95, **how: Any) -> Outcomes:
    """Success rates on the same starts: each arm's, and the differences of every two.

    Args:
        evaluations: `evaluation.json` files, or the folders that hold them; those that differ in the training
            seed alone are one arm.
        confidence: of the intervals.
        how: `anytime=True`, `first_alone=True`: as `s2robot.compare.comparison.compare`.

    Raises UserError for evaluations that cannot be read, or were not tried on the same starts.

    Examples:
        >>> outcomes = s2robot.compare_evaluations("runs/policy/evaluation", "runs/other/evaluation")
        >>> [(row.name, row.trials) for row in outcomes.rows]
        [('policy', 2), ('other', 2)]
        >>> print(outcomes.comparisons[0].sentence())
        policy v other: not separated: difference ...
    """
    compared = arms(read([str(path) for path in evaluations]), group=True)
    return examine(compared, "starts", confidence, **how)


def examine(compared: Sequence[Arm], part: str, confidence: float, **how: Any) -> Outcomes:
    """The rates of the arms on `starts` or `random_starts`, compared as `compare` does, which raises."""
    evaluations = [evaluation for arm in compared for evaluation in arm.evaluations]
    trials = common_trials(evaluations, part)
    tried = {evaluation.name: evaluation.outcomes(part) for evaluation in evaluations}
    return Outcomes(
        title=f"{len(trials)} {PARTS[part] if len(trials) > 1 else PARTS[part].removesuffix('s')}",
        rows=[row for arm in compared for row in _rows(arm, part, trials, confidence)],
        comparisons=compare(compared, part, confidence=confidence, **how),
        trials=trials,
        rollouts={name: [rollouts[t] for t in trials] for name, rollouts in tried.items()},
        progress=mean_progress(compared, part, trials, confidence=confidence, **how),
    )


def tried_by(compared: Sequence[Arm], part: str) -> list[Evaluation]:
    """The evaluations that have outcomes of this part."""
    return [e for arm in compared for e in arm.evaluations if e.result(part) is not None]


def lines(part: Outcomes) -> Iterable[str]:
    """For the terminal: the rates in columns, then a sentence for every two arms, or a matrix of them."""
    rows = part.ranked
    names = [("  " if row.is_member else "") + row.label for row in rows]
    width = max(len(part.title), *map(len, names))
    yield f"{part.title:{width}}  successes   rate  interval"
    for name, row in zip(names, rows, strict=True):
        count = f"{row.successes}/{row.trials}"
        limits = f"{percent(row.low)}-{percent(row.high)} %"
        failed = f"  {', '.join(f'{n} {label}' for label, n in row.failed.items())}" if row.failed else ""
        yield f"{name:{width}}  {count:>9}  {percent(row.rate):>3} %  {limits:9}{failed}".rstrip()
    if len(part.comparisons) <= MOST_SENTENCES:
        yield from (comparison.sentence() for comparison in part.comparisons)
    else:
        yield ""
        yield from _matrix_lines(part)
    yield from (progress.sentence() for progress in part.progress)


def _matrix_lines(part: Outcomes) -> Iterable[str]:
    """Differences in pp, the row's arm minus the column's; `*`: measurable."""
    names = [row.name for row in part.arm_rows]
    cells = [[_cell(comparison) for comparison in row] for row in part.matrix()]
    width = max(map(len, [*names, "row - column [pp]"])) + 4
    yield f"{'row - column [pp]':{width}}" + "".join(f"{i + 1:>6}" for i in range(len(names)))
    for i, (name, row) in enumerate(zip(names, cells, strict=True)):
        yield (f"{i + 1:>2}  {name}".ljust(width) + "".join(f"{cell:>6}" for cell in row)).rstrip()
    yield "*: measurable; json=true prints intervals and p of every two"


def _cell(comparison: Comparison | None) -> str:
    if comparison is None:
        return "."
    return percent(comparison.difference, sign=True) + ("*" if comparison.separated else " ")


def _rows(arm: Arm, part: str, trials: Sequence[Trial], confidence: float) -> Iterable[Row]:
    """The arm's, then one for each of its evaluations where it has several."""
    table, labels = arm.table(part, trials), arm.failure_labels
    failed = [count_failures(e.outcomes(part).values(), labels) for e in arm.evaluations]
    alone = [
        Row(e.name, 1, True, hits, len(trials), *wilson(hits, len(trials), confidence), failed=f)
        for e, hits, f in zip(arm.evaluations, table.sum(axis=1).tolist(), failed, strict=True)
    ]
    if len(alone) == 1:
        yield replace(alone[0], name=arm.name, is_member=False)
        return
    every = [rollout for e in arm.evaluations for rollout in e.outcomes(part).values()]
    limits = ArmRate.of(table).interval(confidence)
    yield Row(
        arm.name,
        len(table),
        False,
        int(table.sum()),
        table.size,
        *limits,
        failed=count_failures(every, labels),
    )
    yield from alone
