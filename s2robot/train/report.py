"""The page of a training: its curves, its rollouts, and what made it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from s2robot.reports.curves import Points, curve_figures
from s2robot.reports.html import template
from s2robot.train.checkpointing import RECORD, SCORE, best_step
from s2robot.train.rollouts import CURVE
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.hashing import plain


def write_training_report(out: Path, curves: Mapping[str, Points]) -> None:
    """Writes `report.html` into the folder of a training, from its curves and its `run.json`."""
    record: dict[str, Any] = json.loads((out / RECORD).read_text())
    page = template("training.html.jinja", percent=_percent).render(
        name=out.name,
        figures=curve_figures(curves),
        last={name: points[-1] for name, points in curves.items() if len(points)},
        best=best_step(list(curves.get(SCORE, []))),
        score=SCORE,
        rollouts=curves.get(CURVE, ()),
        record=record,
        sessions=_sessions(record["sessions"]),
        options=yaml.safe_dump(plain(record["options"]), sort_keys=False, allow_unicode=True),
    )
    write_atomic(out / "report.html", page)


def _sessions(sessions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row each: from which step, how many steps a second, and the share of time spent waiting for data."""
    rows = []
    for session in sessions:
        steps, seconds = session.get("steps", 0), session.get("seconds", 0.0)
        git = session["git"] or {}
        rows.append(
            {
                "began": session["began"],
                "from_step": session["from_step"],
                "processes": session["processes"],
                "rate": steps / seconds if seconds else None,
                "waited": session["waited"] / seconds if seconds else None,
                "commit": git.get("commit", "")[:12] + (" (changed)" if git.get("dirty") else ""),
            }
        )
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
