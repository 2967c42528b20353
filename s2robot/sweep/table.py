"""What came of a sweep's jobs: one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2robot.reports.curves import read_curves
from s2robot.reports.result import read_evaluation
from s2robot.sweep.job import JOB, read_job
from s2robot.utils.atomic_io import write_atomic, write_json

Row = dict[str, Any]


def collect(out: Path, over: Sequence[str], jobs: int) -> list[Row]:
    """A row for each finished one of the jobs, which are numbered from 0.

    It holds the job's value of every option in `over`, last and best losses, successes. An earlier sweep of
    more jobs may have left others in `out`.
    """
    return [_row(out / str(i), over) for i in range(jobs) if (out / str(i) / JOB).is_file()]


def write_results(out: Path, rows: Sequence[Row]) -> None:
    """`results.json` and `results.csv`."""
    write_json(out / "results.json", list(rows))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(out / "results.csv", text.getvalue())


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The rows as text, `-` where there is nothing."""
    return [[_text(value) for value in row.values()] for row in rows]


def _row(folder: Path, over: Sequence[str]) -> Row:
    job = read_job(folder)
    given = dict(option.split("=", 1) for option in job["options"])
    failed = job["error"] is not None  # what lies there may be another training's
    curves = {} if failed else _curves(folder / "policy" / "curves.json")
    evaluated = folder / "policy" / "evaluation" / "evaluation.json"
    evaluation = read_evaluation(evaluated) if evaluated.is_file() and not failed else {}
    scores = [value for _, value in curves.get("action/validation", [])]
    random_starts = evaluation.get("random_starts") or {}
    return {
        "job": folder.name,
        **{name: given.get(name) for name in over},
        "action/train": _last(curves, "action/train"),
        "action/validation": scores[-1] if scores else None,
        "best": min(scores, default=None),
        "rollouts": _last(curves, "success/rollouts"),
        "successes": _count(evaluation),
        "random_starts": _count(random_starts),
        "error": job["error"],
    }


def _curves(path: Path) -> dict[str, Any]:
    return read_curves(path) if path.is_file() else {}


def _last(curves: Mapping[str, Any], name: str) -> float | None:
    points = curves.get(name, [])
    return points[-1][1] if points else None


def _count(result: Mapping[str, Any]) -> str | None:
    return f"{result['successes']}/{result['trials']}" if result else None


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
