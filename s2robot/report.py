"""The page that shows how often the policy picks up the cube, where it does not, and what made it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from s2robot import failures
from s2robot.curves import Points, curve_figures
from s2robot.errors import UserError
from s2robot.page import DAY, STYLE, certainty, corners, map_axes, svg, template
from s2robot.provenance import plain, write_atomic

Result = Mapping[str, Any]

FIELDS = (
    *("successes", "trials", "success_rate", "wilson_95", "positions", "rectangle", "rate", "max_steps"),
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
        table_map=_table_map(evaluation),
        videos=sorted(videos, key=lambda video: video.success),
        figures=curve_figures(curves or {}),
        stages=stages or (),
    )
    write_atomic(path, page)


def headline(result: Result) -> str:
    """`picked up the cube at 12 of 16 positions (75 %, 95 % interval 51-90 %)`."""
    count = f"{result['successes']} of {result['trials']}"
    return f"picked up the cube at {count} positions ({certainty(result)})"


def _table_map(evaluation: Result) -> Markup:
    """The table from above: x up the page, away from the robot, and y to the left, as the robot sees it."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        (x, x_end), (y, y_end) = evaluation["rectangle"]["x"], evaluation["rectangle"]["y"]
        axes.add_patch(
            Rectangle((y, x), y_end - y, x_end - x, fill=False, edgecolor=DAY["soft"], linestyle=":")
        )
        _draw_cubes(axes, (evaluation.get("extra") or {}).get("positions", ()), side=0.010, alpha=0.35)
        _draw_cubes(axes, evaluation["positions"], side=0.020, alpha=1.0)
        for index, p in enumerate(evaluation["positions"]):
            axes.annotate(str(index), (p["y"], p["x"]), (9, 5), textcoords="offset points", weight="bold")
        axes.autoscale_view()
        return svg(figure, "map")


def _draw_cubes(axes: Axes, positions: Sequence[Result], side: float, alpha: float) -> None:
    """Squares of `side` (m), turned by yaw: filled for a pick, hollow and crossed for a miss."""
    hits = [corners(p["x"], p["y"], p["yaw"], side) for p in positions if p["success"]]
    misses = [corners(p["x"], p["y"], p["yaw"], side) for p in positions if not p["success"]]
    edges = {"facecolors": "none", "edgecolors": DAY["miss"], "linewidths": 1.3}
    axes.add_collection(PolyCollection(hits, facecolors=DAY["hit"], edgecolors="none", alpha=alpha))
    axes.add_collection(PolyCollection(misses, alpha=alpha, **edges))
    crosses = [square[diagonal] for square in misses for diagonal in ([0, 2], [1, 3])]
    axes.add_collection(LineCollection(crosses, colors=DAY["miss"], linewidths=1.3, alpha=alpha))


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
    "report.html.jinja",
    certainty=certainty,
    duration=_duration,
    failures=_failures,
    failures_first=_failures_first,
    why=failures.in_words,
)
