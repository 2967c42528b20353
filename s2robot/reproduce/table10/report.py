"""The report of an experiment, every figure computed from the raw outcomes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from s2robot.compare.comparison import Comparison, compare, percent
from s2robot.compare.read import Arm, read
from s2robot.reports.result import all_rollouts, count_failures
from s2robot.reproduce.table10.plan import (
    CELLS,
    PLANNED,
    PLANNED_CONDITIONED,
    PLANNED_DROPOUT,
    PLANNED_FINE_GRID,
    PLANNED_TINY_CUBE,
)
from s2robot.statistics.paired import holm
from s2robot.statistics.seeds import ArmRate
from s2robot.utils.atomic_io import write_atomic

_HEAD = """# The S² paper's cube picking in simulation

Plan, written before the runs: [plan.md](plan.md). Commands: [commands.txt](commands.txt). Raw outcomes: the
JSON files here, one an arm and training seed. This page is computed from them.

The paper (Table 10; real arm, front and wrist views, 16 positions): MVP base 7/16, base with S² 10/16,
large 8/16; 16 positions cannot tell these apart (Fisher's exact p = 0.48 for 7 against 10).
"""

_LATER = {
    "Grasp conditioning: the policy is conditioned on a predicted grasp": PLANNED_CONDITIONED,
    "Visual dropout: in half of the training windows the visual tokens are dropped": PLANNED_DROPOUT,
    "The fine grid: a small cube, the front camera 1.5 times as far away": PLANNED_FINE_GRID,
    "A cube of 20 mm, the front camera 1.5 times as far away": PLANNED_TINY_CUBE,
}


def write_report(results: Path) -> None:
    """Writes `report.md` beside the raw outcomes; nothing where there are none."""
    arms = read_arms(results)
    if arms:
        write_atomic(results / "report.md", render(arms))


def read_arms(results: Path) -> dict[str, Arm]:
    """The arms whose raw outcomes are in a folder, each with its training seeds in order."""
    files = sorted(results.glob("*_seed*.json"), key=lambda f: (_arm_of(f), len(f.stem), f.stem))
    evaluations = read([str(file) for file in files]) if files else []
    names = [_arm_of(file) for file in files]
    return {
        name: Arm(name, tuple(e for e, n in zip(evaluations, names, strict=True) if n == name))
        for name in dict.fromkeys(names)
    }


def render(arms: dict[str, Arm]) -> str:
    """The report as Markdown."""
    parts = [_HEAD, "## The claim\n", *_sentences(planned_comparisons(arms))]
    for title, planned in _LATER.items():
        if found := planned_comparisons(arms, planned):
            parts += [f"## {title}\n", *_sentences(found)]
    for cell, planned in CELLS.items():
        present = [arms[arm.name] for arm in planned if arm.name in arms]
        if present:
            parts += [f"## {cell}\n", _table(present)]
    return "\n".join(parts)


def planned_comparisons(
    arms: dict[str, Arm], planned: Sequence[tuple[str, str]] = PLANNED
) -> list[Comparison]:
    """Those whose arms are there, from the random starts, corrected for each other (Holm)."""
    pairs = [(arms[a], arms[b]) for a, b in planned if a in arms and b in arms]
    found = [compare([a, b], "random_starts")[0] for a, b in pairs if _has_further(a) and _has_further(b)]
    corrected = holm([c.p for c in found])
    return [
        replace(c, p_holm=p, separated=c.separated and p <= 0.05)
        for c, p in zip(found, corrected, strict=True)
    ]


def _sentences(found: Sequence[Comparison]) -> list[str]:
    if not found:
        return ["No planned comparison has both its arms yet.\n"]
    return [*(f"- {c.sentence()} ({c.method})" for c in found), ""]


def _table(arms: Sequence[Arm]) -> str:
    head = "| arm | seeds | fixed starts (median) | random starts | rate (95 % interval) | failures |"
    rows = [head, "|---|---|---|---|---|---|", *map(_row, arms), ""]
    return "\n".join(rows)


def _row(arm: Arm) -> str:
    fixed = [e.content["successes"] for e in arm.evaluations]
    each = ", ".join(f"{e.content['successes']}/{e.content['trials']}" for e in arm.evaluations)
    further, rate = _further(arm) if _has_further(arm) else ("-", "-")
    tried = [rollout for e in arm.evaluations for rollout in all_rollouts(e.content)]
    counts = count_failures(tried, arm.failure_labels)
    failed = ", ".join(f"{n} {label}" for label, n in counts.items()) or "none"
    cells = (arm.name, len(arm.evaluations), f"{each} ({median(fixed):g})", further, rate, failed)
    return f"| {' | '.join(map(str, cells))} |"


def _further(arm: Arm) -> tuple[str, str]:
    """`250/300` and `83 % (78-88 %)`: over training seeds and starts."""
    table = arm.table("random_starts", list(arm.evaluations[0].outcomes("random_starts")))
    low, high = ArmRate.of(table).interval()
    share = f"{percent(float(np.mean(table)))} % ({percent(low)}-{percent(high)} %)"
    return f"{int(table.sum())}/{table.size}", share


def _has_further(arm: Arm) -> bool:
    return all(len(e.outcomes("random_starts")) > 1 for e in arm.evaluations)


def _arm_of(file: Path) -> str:
    return file.stem.rpartition("_seed")[0]
