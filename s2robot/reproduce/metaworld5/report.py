"""The report of metaworld5, every figure computed from the raw outcomes beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from s2robot.reports.result import read_evaluation
from s2robot.reproduce.metaworld5.plan import ARMS, COMPARISONS, PUBLISHED, TASKS
from s2robot.statistics.seeds import ArmDifference, ArmRate
from s2robot.utils.atomic_io import write_atomic

Outcomes = Mapping[str, Mapping[int, np.ndarray]]
"""Task -> training seed -> whether each start succeeded, bool (starts,)."""

_HEAD = """# Five tasks of Meta-World

Plan: [plan.md](plan.md). Commands: [commands.txt](commands.txt). Raw outcomes: the JSON files here, one a
policy. This page is computed from them.

One policy an arm, task and training seed; 25 demos and 25 held-out starts a task. In a task's column:
successes of all seeds. The mean is over tasks and the seeds that have all five; ± is its standard deviation
over seeds, the interval that over seeds and starts.
"""


def write_report(results: Path) -> None:
    """Writes `report.md` beside the raw outcomes; nothing where there are none."""
    arms = {arm.name: read_outcomes(results, arm.name) for arm in ARMS}
    arms = {name: outcomes for name, outcomes in arms.items() if outcomes}
    if arms:
        write_atomic(results / "report.md", render(arms))


def read_outcomes(results: Path, arm: str) -> Outcomes:
    """What there is of an arm."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for task in TASKS:
        for file in sorted(results.glob(f"{arm}_{task}_seed*.json")):
            rollouts = read_evaluation(file)["rollouts"]
            seed = int(file.stem.rpartition("_seed")[2])
            found.setdefault(task, {})[seed] = np.array([r["success"] for r in rollouts])
    return found


def render(arms: Mapping[str, Outcomes]) -> str:
    """The report as Markdown."""
    head = ["frozen encoder", *TASKS, "mean, %", "95 % interval"]
    rows = [[f"`{name}`", *_row(outcomes)] for name, outcomes in arms.items()]
    rows += [
        [f"{p.encoder} (published)", *[""] * len(TASKS), f"{p.mean} ± {p.spread}", ""] for p in PUBLISHED
    ]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([_HEAD, *lines, "", *_differences(arms), ""])


def complete_seeds(outcomes: Outcomes) -> list[int]:
    """The training seeds of which every task is there."""
    seeds = [set(outcomes.get(task, {})) for task in TASKS]
    return sorted(set.intersection(*seeds))


def _differences(arms: Mapping[str, Outcomes]) -> list[str]:
    """Of the comparisons that can be made, by the training seeds that both arms have."""
    rows = []
    for names in COMPARISONS:
        a, b = (arms.get(name, {}) for name in names)
        seeds = sorted({*complete_seeds(a)} & {*complete_seeds(b)})
        if seeds:
            found = ArmDifference.of(_table(a, seeds), _table(b, seeds))
            low, high = (100 * bound for bound in found.interval())
            which = ", ".join(map(str, seeds))
            difference = f"{100 * found.difference:+.1f} pp | {low:+.1f} to {high:+.1f}"
            rows.append(f"| `{names[0]}` - `{names[1]}` | {which} | {difference} | {found.p():.2g} |")
    if not rows:
        return []
    head = [
        "Differences, paired by start, over the training seeds that both arms have; with one seed they are",
        "of two policies, not of training. None is corrected for the others.",
        "",
        "| arms | seeds | difference | 95 % interval | p |",
        "| --- | --- | --- | --- | --- |",
    ]
    return [*head, *rows]


def _table(outcomes: Outcomes, seeds: Sequence[int]) -> np.ndarray:
    """bool (seeds, starts of all tasks)."""
    return np.stack([np.concatenate([outcomes[task][seed] for task in TASKS]) for seed in seeds])


def _row(outcomes: Outcomes) -> list[str]:
    cells = [_count(outcomes.get(task, {})) for task in TASKS]
    seeds = complete_seeds(outcomes)
    if not seeds:
        return [*cells, "-", "-"]
    table = _table(outcomes, seeds)
    means = 100 * table.mean(axis=1)
    spread = f"± {means.std(ddof=1):.1f}" if len(seeds) > 1 else "(one seed)"
    low, high = ArmRate.of(table).interval()
    return [*cells, f"{means.mean():.1f} {spread}", f"{100 * low:.1f} to {100 * high:.1f}"]


def _count(by_seed: Mapping[int, np.ndarray]) -> str:
    if not by_seed:
        return "-"
    return f"{sum(int(o.sum()) for o in by_seed.values())}/{sum(map(len, by_seed.values()))}"
