"""The page of an evaluation: how often the policy succeeded, from which starts not, and what made it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from s2robot.reports.curves import Points, curve_figures
from s2robot.reports.html import template
from s2robot.reports.maps import grid_map, start_map
from s2robot.reports.result import (
    FIELDS,
    Result,
    certainty,
    check_evaluation,
    count_failures,
    headline,
    metric_medians,
    outcome_text,
)
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.hashing import plain

PAGE_FIELDS = (*FIELDS, "rate", "max_steps", "seed", "versions")
"""What an evaluation must hold to be shown."""


@dataclass(frozen=True)
class RolloutVideo:
    """One filmed rollout: its caption, its outcome and its H.264 file (see `video.encode_mp4`)."""

    title: str
    success: bool
    mp4: bytes

    @property
    def url(self) -> str:
        """The file itself as a `data:` URL."""
        return "data:video/mp4;base64," + base64.b64encode(self.mp4).decode()


def write_report(
    path: str | Path,
    evaluation: Result,
    videos: Iterable[RolloutVideo],
    curves: Mapping[str, Points] | None = None,
    stages: Sequence[tuple[str, float]] | None = None,
) -> None:
    """Writes one HTML file that needs no network, no script and no other file.

    It appears whole or not at all; an earlier report at `path` is replaced.

    Args:
        path: the file to write; a missing folder is made.
        evaluation: the content of `evaluation.json`: all of `PAGE_FIELDS`.
        videos: filmed rollouts; failures are shown first.
        curves: `{"loss/train": [(step, value), ...]}`; names alike before the slash share a figure.
        stages: (name, duration in s) of each stage of the pipeline.

    Raises:
        UserError: the evaluation lacks a field, or is of another schema.
    """
    check_evaluation(evaluation, fields=PAGE_FIELDS)
    further = evaluation["random_starts"]
    together = [*evaluation["rollouts"], *(further["rollouts"] if further else ())]
    page = _TEMPLATE.render(
        evaluation=evaluation,
        headline=headline(evaluation),
        further=further,
        goal=evaluation["task"]["goal"],
        has_places=any(rollout["start"]["place"] for rollout in together),
        medians=metric_medians(together),
        config=yaml.safe_dump(plain(evaluation["config"]), sort_keys=False, allow_unicode=True),
        start_map=start_map(evaluation),
        grid_map=grid_map(evaluation),
        videos=sorted(videos, key=lambda video: video.success),
        figures=curve_figures(curves or {}),
        stages=stages or (),
    )
    write_atomic(path, page)


def video_title(rollout: Result) -> str:
    """`rollout 3: x +1.2 cm, y -3.0 cm, 40 steps, missed by 2.3 cm`."""
    place = rollout["start"]["place"]
    where = "" if place is None else f" x {100 * place[0]:+.1f} cm, y {100 * place[1]:+.1f} cm,"
    why = "" if rollout["success"] else f", {outcome_text(rollout)}"
    return f"rollout {rollout['index']}:{where} {rollout['steps']} steps{why}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _failures_first(rollouts: Sequence[Result]) -> list[Result]:
    return sorted(rollouts, key=lambda rollout: rollout["success"])


def _failures(result: Result, labels: Sequence[str]) -> str:
    """`Failures: 1 never reached, 3 missed`, empty where none is known."""
    counts = count_failures(result["rollouts"], labels)
    return "Failures: " + ", ".join(f"{n} {label}" for label, n in counts.items()) if counts else ""


_TEMPLATE = template(
    "evaluation.html.jinja",
    certainty=certainty,
    duration=_duration,
    failures=_failures,
    failures_first=_failures_first,
    why=outcome_text,
)
