"""The table from above: where the cube was put, and where it was picked up.

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

GRID = 4  # cells along each side: those that the 16 positions lie in
_ENOUGH = 2  # outcomes a cell, on average: with fewer the map says no more than the positions themselves


def position_map(evaluation: Result) -> Markup:
    """Every position as a cube: filled for a pick, hollow and crossed for a miss; further ones small.

    Where there are several rollouts from a position, its successes stand beside its number.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        (x, x_end), (y, y_end) = evaluation["spawn_region"]["x"], evaluation["spawn_region"]["y"]
        axes.add_patch(
            Rectangle((y, x), y_end - y, x_end - x, fill=False, edgecolor=DAY["soft"], linestyle=":")
        )
        _draw_cubes(axes, (evaluation.get("extra") or {}).get("positions", ()), side=0.010, alpha=0.35)
        _draw_cubes(axes, evaluation["positions"], side=0.020, alpha=1.0)
        places: dict[tuple[float, float], list[bool]] = {}
        for p in evaluation["positions"]:
            places.setdefault((p["y"], p["x"]), []).append(p["success"])
        for index, (place, ended) in enumerate(places.items()):
            text = str(index) if len(ended) == 1 else f"{index}: {sum(ended)}/{len(ended)}"
            axes.annotate(text, place, (9, 5), textcoords="offset points", weight="bold")
        axes.autoscale_view()
        return svg(figure, "map")


def grid_map(evaluation: Result) -> Markup | None:
    """Success in each cell of a grid, all positions together; None where there are too few of them."""
    outcomes = [*evaluation["positions"], *(evaluation.get("extra") or {}).get("positions", ())]
    if len(outcomes) < _ENOUGH * GRID**2:
        return None
    sides = [evaluation["spawn_region"][axis] for axis in ("x", "y")]
    edges = [np.linspace(low, high, GRID + 1) for low, high in sides]
    successes, trials = grid_counts(outcomes, edges[0], edges[1])
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        for row, column in np.ndindex(GRID, GRID):
            count = int(successes[row, column]), int(trials[row, column])
            _draw_cell(axes, edges[0][row : row + 2], edges[1][column : column + 2], *count)
        axes.autoscale_view()
        return svg(figure, "grid")


def grid_counts(outcomes: Sequence[Result], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(successes, trials), each (len(x) - 1, len(y) - 1), of the cells between the edges (m).

    A position outside is counted in the nearest cell.
    """
    successes, trials = np.zeros((2, len(x) - 1, len(y) - 1), int)
    for outcome in outcomes:
        cell = tuple(
            int(np.clip(np.searchsorted(edges, outcome[axis], side="right") - 1, 0, len(edges) - 2))
            for axis, edges in (("x", x), ("y", y))
        )
        trials[cell] += 1
        successes[cell] += bool(outcome["success"])
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


def _draw_cubes(axes: Axes, positions: Sequence[Result], side: float, alpha: float) -> None:
    """Squares of `side` (m), turned by yaw: filled for a pick, hollow and crossed for a miss."""
    hits = [corners(p["x"], p["y"], p["yaw"], side) for p in positions if p["success"]]
    misses = [corners(p["x"], p["y"], p["yaw"], side) for p in positions if not p["success"]]
    edges = {"facecolors": "none", "edgecolors": DAY["miss"], "linewidths": 1.3}
    axes.add_collection(PolyCollection(hits, facecolors=DAY["hit"], edgecolors="none", alpha=alpha))
    axes.add_collection(PolyCollection(misses, alpha=alpha, **edges))
    crosses = [square[diagonal] for square in misses for diagonal in ([0, 2], [1, 3])]
    axes.add_collection(LineCollection(crosses, colors=DAY["miss"], linewidths=1.3, alpha=alpha))
