"""The page that shows how often the policy picks up the cube, where it does not, and what made it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s2robot.core.errors import UserError
from s2robot.evaluation import failures
from s2robot.reports.curves import Points, curve_figures
from s2robot.reports.html import certainty, template
from s2robot.reports.maps import grid_map, position_map
from s2robot.utils.provenance import plain, write_atomic

Result = Mapping[str, Any]

FIELDS = (
    *("successes", "trials", "success_rate", "wilson_95", "positions", "spawn_region", "rate", "max_steps"),
    *("seed", "versions", "checkpoint_sha256", "config"),
)
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
        evaluation: the content of `evaluation.json`: all of `FIELDS`, and maybe further positions as `extra`.
        videos: filmed rollouts; failures are shown first.
        curves: `{"loss/train": [(step, value), ...]}`; names alike before the slash share a figure.
        stages: (name, duration in s) of each stage of the pipeline.

    Raises:
        UserError: the evaluation lacks a field.
    """
    missing = [name for name in FIELDS if name not in evaluation]
    if missing:
        raise UserError(f"evaluation lacks {', '.join(missing)}; it has {', '.join(evaluation) or 'nothing'}")
    page = _TEMPLATE.render(
        evaluation=evaluation,
        extra=evaluation.get("extra"),
        config=yaml.safe_dump(plain(evaluation["config"]), sort_keys=False, allow_unicode=True),
        table_map=position_map(evaluation),
        grid_map=grid_map(evaluation),
        videos=sorted(videos, key=lambda video: video.success),
        figures=curve_figures(curves or {}),
        stages=stages or (),
    )
    write_atomic(path, page)


def headline(result: Result) -> str:
    """`picked up the cube at 12 of 16 positions (75 %, 95 % interval 51-90 %)`."""
    count = f"{result['successes']} of {result['trials']}"
    return f"picked up the cube at {count} positions ({certainty(result)})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _failures_first(positions: Sequence[Result]) -> list[tuple[int, Result]]:
    return sorted(enumerate(positions), key=lambda numbered: numbered[1]["success"])


def _failures(result: Result) -> str:
    """`Failures: 1 never reached, 3 missed`, empty where none is known."""
    counts = failures.count(result["positions"])
    return "Failures: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()) if counts else ""


_TEMPLATE = template(
    "evaluation.html.jinja",
    certainty=certainty,
    duration=_duration,
    failures=_failures,
    failures_first=_failures_first,
    sight=failures.grasp_error_in_words,
    why=failures.in_words,
)
