"""The starts from above: where the task was attempted, and from where it succeeded.

x goes up the page, away from the robot, and y to the left, as the robot sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from s2robot.reports.html import DAY, STYLE, corners, map_axes, svg

Result = Mapping[str, Any]
Placed = tuple[Sequence[float], bool]
"""(x [m], y [m], angle [rad]) of a start, and whether the rollout from it succeeded."""

GRID = 4  # cells along each side
_ENOUGH = 2  # outcomes a cell, on average: with fewer the map says no more than the starts themselves


def start_map(evaluation: Result) -> Markup | None:
    """Every start as a square: filled for a success, hollow and crossed for a failure; random ones small.

    Where there are several rollouts from a start, its successes stand beside its number. None where the task
    has no region or its starts no place.
    """
    region, placed = evaluation["task"]["region"], _placed(evaluation)
    if region is None or not placed:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        (x, x_end), (y, y_end) = region["x"], region["y"]
        axes.add_patch(
            Rectangle((y, x), y_end - y, x_end - x, fill=False, edgecolor=DAY["soft"], linestyle=":")
        )
        _draw_squares(axes, _placed(evaluation.get("random_starts") or {}), side=0.010, alpha=0.35)
        _draw_squares(axes, placed, side=0.020, alpha=1.0)
        places: dict[tuple[float, float], list[bool]] = {}
        for (x, y, _), success in placed:
            places.setdefault((y, x), []).append(success)
        for index, (place, ended) in enumerate(places.items()):
            text = str(index) if len(ended) == 1 else f"{index}: {sum(ended)}/{len(ended)}"
            axes.annotate(text, place, (9, 5), textcoords="offset points", weight="bold")
        axes.autoscale_view()
        return svg(figure, "map")


def grid_map(evaluation: Result) -> Markup | None:
    """Success in each cell of a grid, all starts together; None as `start_map`, and for too few of them."""
    region = evaluation["task"]["region"]
    placed = [*_placed(evaluation), *_placed(evaluation.get("random_starts") or {})]
    if region is None or len(placed) < _ENOUGH * GRID**2:
        return None
    edges = [np.linspace(low, high, GRID + 1) for low, high in (region["x"], region["y"])]
    successes, trials = grid_counts(placed, edges[0], edges[1])
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        for row, column in np.ndindex(GRID, GRID):
            count = int(successes[row, column]), int(trials[row, column])
            _draw_cell(axes, edges[0][row : row + 2], edges[1][column : column + 2], *count)
        axes.autoscale_view()
        return svg(figure, "grid")


def _placed(result: Result) -> list[Placed]:
    """The place and success of each rollout whose start has a place."""
    rollouts = result.get("rollouts", ())
    return [(r["start"]["place"], r["success"]) for r in rollouts if r["start"]["place"] is not None]


def grid_counts(placed: Sequence[Placed], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(successes, trials), each (len(x) - 1, len(y) - 1), of the cells between the edges (m).

    A place outside is counted in the nearest cell.
    """
    successes, trials = np.zeros((2, len(x) - 1, len(y) - 1), int)
    for place, success in placed:
        cell = tuple(
            int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2))
            for value, edges in zip(place, (x, y), strict=False)
        )
        trials[cell] += 1
        successes[cell] += bool(success)
    return successes, trials


def _draw_cell(axes: Axes, x: np.ndarray, y: np.ndarray, successes: int, trials: int) -> None:
    """Darker for more success; the counts are written in it."""
    rate = successes / trials if trials else 0.0
    cell = {"facecolor": DAY["hit"], "edgecolor": "none", "alpha": 0.6 * rate}
    frame = {"fill": False, "edgecolor": DAY["line"]}
    for style in (cell, frame):
        axes.add_patch(Rectangle((y[0], x[0]), y[1] - y[0], x[1] - x[0], **style))
    text = f"{successes}/{trials}" if trials else "-"
    axes.annotate(text, (y.mean(), x.mean()), ha="center", va="center", weight="bold")


def _draw_squares(axes: Axes, placed: Sequence[Placed], side: float, alpha: float) -> None:
    """Squares of `side` (m), turned by the angle: filled for a success, hollow and crossed for a failure."""
    hits = [corners(x, y, angle, side) for (x, y, angle), success in placed if success]
    misses = [corners(x, y, angle, side) for (x, y, angle), success in placed if not success]
    edges = {"facecolors": "none", "edgecolors": DAY["miss"], "linewidths": 1.3}
    axes.add_collection(PolyCollection(hits, facecolors=DAY["hit"], edgecolors="none", alpha=alpha))
    axes.add_collection(PolyCollection(misses, alpha=alpha, **edges))
    crosses = [square[diagonal] for square in misses for diagonal in ([0, 2], [1, 3])]
    axes.add_collection(LineCollection(crosses, colors=DAY["miss"], linewidths=1.3, alpha=alpha))
