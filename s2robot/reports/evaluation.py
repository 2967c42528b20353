"""The page of an evaluation: how often the policy succeeded, from which starts not, and what made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s2robot.core.errors import UserError
from s2robot.core.task import SpawnRegion
from s2robot.reports.curves import Points, curve_figures
from s2robot.reports.films import Film
from s2robot.reports.html import template
from s2robot.reports.maps import grid_map, place_text, region_of, start_map
from s2robot.reports.result import (
    FIELDS,
    Result,
    all_rollouts,
    certainty,
    check_evaluation,
    count_failures,
    metric_medians,
    metrics_explained,
    outcome_text,
    progress_text,
)
from s2robot.utils.atomic_io import read_json, write_atomic
from s2robot.utils.hashing import plain

PAGE_FIELDS = (*FIELDS, "rate", "max_steps", "seed", "versions")
"""What an evaluation must hold to be shown."""


@dataclass(frozen=True)
class RolloutVideo:
    """One filmed rollout: its index, and its H.264 file (see `video.encode_mp4`)."""

    index: int
    mp4: bytes


def write_report(
    path: str | Path,
    evaluation: Result,
    videos: Iterable[RolloutVideo],
    curves: Mapping[str, Points] | None = None,
    stages: Sequence[tuple[str, float]] | None = None,
    cameras: Sequence[str] = (),
) -> None:
    """Writes one HTML file that needs no network and no other file.

    It appears whole or not at all; an earlier report at `path` is replaced.

    Args:
        path: the file to write; a missing folder is made.
        evaluation: the content of `evaluation.json`: all of `PAGE_FIELDS`.
        videos: filmed rollouts; failures are shown first.
        curves: `{"loss/train": [(step, value), ...]}`; names alike before the slash share a figure.
        stages: (name, duration in s) of each stage of the pipeline.
        cameras: that are side by side in the videos, from the left.

    Raises:
        UserError: the evaluation lacks a field, or is of another schema.
    """
    check_evaluation(evaluation, fields=PAGE_FIELDS)
    together = all_rollouts(evaluation)
    places = [rollout["start"]["place"] for rollout in together if rollout["start"]["place"]]
    region = region_of(evaluation["task"], places) if places else None
    page = _TEMPLATE.render(
        evaluation=evaluation,
        further=evaluation["random_starts"],
        goal=evaluation["task"]["goal"],
        region=region,
        medians=metric_medians(together),
        explained=metrics_explained(together, evaluation["task"]["metric_meanings"]),
        config=yaml.safe_dump(plain(evaluation["config"]), sort_keys=False, allow_unicode=True),
        start_map=start_map(evaluation),
        grid_map=grid_map(evaluation),
        films=_films(together, videos, region),
        cameras=cameras,
        figures=curve_figures(curves or {}),
        stages=stages or (),
    )
    write_atomic(path, page)


def _films(
    rollouts: Sequence[Result], videos: Iterable[RolloutVideo], region: SpawnRegion | None
) -> list[Film]:
    """Failures first."""
    numbered = {rollout["index"]: rollout for rollout in rollouts}
    shown = [(numbered[video.index], video.mp4) for video in videos]
    shown.sort(key=lambda pair: pair[0]["success"])
    return [Film(_caption(rollout, region), mp4, rollout["success"]) for rollout, mp4 in shown]


def _caption(rollout: Result, region: SpawnRegion | None) -> str:
    """`3: x +1.2 cm, y -3.0 cm, 40 steps, missed by 2.3 cm`."""
    parts = [f"{rollout['index']}:{_where(rollout['start']['place'], region)} {rollout['steps']} steps"]
    return ", ".join(parts if rollout["success"] else [*parts, outcome_text(rollout)])


def _where(place: Sequence[float] | None, region: SpawnRegion | None) -> str:
    if place is None or region is None:
        return ""
    if region.unit == "m":
        return f" x {100 * place[0]:+.1f} cm, y {100 * place[1]:+.1f} cm,"
    x, y = place_text(region, place)
    return f" x {x} {region.unit}, y {y} {region.unit},"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _failures_first(rollouts: Sequence[Result]) -> list[Result]:
    return sorted(rollouts, key=lambda rollout: rollout["success"])


def _failures(result: Result, labels: Sequence[str]) -> str:
    """`Failures: 1 never reached, 3 missed`, empty where none is known."""
    counts = count_failures(result["rollouts"], labels)
    return "Failures: " + ", ".join(f"{n} {label}" for label, n in counts.items()) if counts else ""


def _place(place: Sequence[float], region: SpawnRegion) -> tuple[Any, ...]:
    return (*place_text(region, place), f"{place[2]:.2f}")


_TEMPLATE = template(
    "evaluation.html.jinja",
    certainty=certainty,
    duration=_duration,
    failures=_failures,
    failures_first=_failures_first,
    place=_place,
    progress=progress_text,
    why=outcome_text,
)


def read_stages(path: Path) -> dict[str, float]:
    """Stage -> how long it took (s). Raises UserError where the file holds anything else."""
    stages = read_json(path, "delete it")
    for name, seconds in stages.items():
        if not isinstance(seconds, int | float):
            raise UserError(f"{path} is damaged ({name} took {seconds!r}): expected seconds")
    return stages
