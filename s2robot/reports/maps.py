"""Maps of starts: where the task was attempted, and from where it succeeded.

They are laid out as the task's region says, e.g. as the front camera sees the table; where the task has no
region, x goes right and y up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from s2robot.core.task import SpawnRegion
from s2robot.reports.html import DAY, STYLE, svg

Result = Mapping[str, Any]
Place = Sequence[float]
"""(x, y, angle [rad]) of a start; see `Start`."""
Placed = tuple[Place, bool]
"""The place of a start, and whether the rollout from it succeeded."""

GRID = 4  # cells along each side
_ENOUGH = 2  # outcomes a cell, on average: with fewer the map says no more than the starts themselves
_MARKER = 1 / 15  # side of a square, of the map's longer side


class Map:
    """Axes on which a task's places are drawn.

    Attributes:
        region: how it is laid out.
        axes: of matplotlib; what is drawn on them has gone through `at`.
    """

    def __init__(self, figure: Figure, region: SpawnRegion) -> None:
        self.region = region
        self.axes: Axes = figure.add_subplot(aspect="equal")
        right, up = (f"{axis[-1]} [{region.unit}]{_of(region, axis)}" for axis in (region.right, region.up))
        self.axes.set(xlabel=f"{right}\n{region.view}".rstrip(), ylabel=up)
        if region.right.startswith("-"):
            self.axes.invert_xaxis()
        if region.up.startswith("-"):
            self.axes.invert_yaxis()

    def at(self, points: np.ndarray) -> np.ndarray:
        """Of (..., 2) x and y: what the two axes show of them."""
        return points if self.region.right.endswith("x") else points[..., ::-1]

    def square(self, place: Place, side: float) -> np.ndarray:
        """The corners (4, 2) of a square at a place, turned by its angle; `side` in the region's unit."""
        x, y, angle = place
        angles = angle + np.pi / 4 + np.pi / 2 * np.arange(4)
        return self.at(np.array([x, y]) + side / np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], 1))

    def rectangle(
        self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, **style: Any
    ) -> None:
        """Draws the rectangle from x[0] to x[-1] and y[0] to y[-1]."""
        low, high = self.at(np.array([[x[0], y[0]], [x[-1], y[-1]]], float))
        self.axes.add_patch(Rectangle(tuple(low), *(high - low), **style))

    def marker_side(self) -> float:
        """The side of a start's square, in the region's unit: readable whatever the extent."""
        return _MARKER * max(np.ptp(self.region.x), np.ptp(self.region.y))


def region_of(task: Mapping[str, Any], places: Sequence[Place]) -> SpawnRegion:
    """The region that `Task.to_dict` tells of; where there is none, the rectangle around the places."""
    return SpawnRegion(**task["region"]) if task["region"] else surrounding(places)


def surrounding(places: Sequence[Place], like: SpawnRegion | None = None) -> SpawnRegion:
    """The rectangle around places, laid out like another region."""
    corners = np.array([place[:2] for place in places], float)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = max(1e-6, 0.02 * float((high - low).max()))  # places on a line have a rectangle too
    x, y = ((float(a - margin), float(b + margin)) for a, b in zip(low, high, strict=True))
    return SpawnRegion(x, y) if like is None else replace(like, x=x, y=y)


def place_text(region: SpawnRegion, place: Place) -> tuple[str, str]:
    """x and y with the decimals that tell places apart: `0.123`, `256`."""
    decimals = max(0, 2 - int(np.floor(np.log10(max(np.ptp(region.x), np.ptp(region.y))))))
    return f"{place[0]:.{decimals}f}", f"{place[1]:.{decimals}f}"


def start_map(evaluation: Result) -> Markup | None:
    """Every start as a square: filled for a success, hollow and crossed for a failure; random ones small.

    Where there are several rollouts from a start, its successes stand beside its number. None where no start
    has a place.
    """
    placed, further = _placed(evaluation), _placed(evaluation.get("random_starts") or {})
    if not placed:
        return None
    region = region_of(evaluation["task"], [place for place, _ in placed + further])
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        drawn = Map(figure, region)
        if evaluation["task"]["region"]:
            drawn.rectangle(region.x, region.y, fill=False, edgecolor=DAY["soft"], linestyle=":")
        _draw_squares(drawn, further, drawn.marker_side() / 2, alpha=0.35)
        _draw_squares(drawn, placed, drawn.marker_side(), alpha=1.0)
        places: dict[tuple[float, float], list[bool]] = {}
        for (x, y, _), success in placed:
            places.setdefault((x, y), []).append(success)
        for index, (place, ended) in enumerate(places.items()):
            text = str(index) if len(ended) == 1 else f"{index}: {sum(ended)}/{len(ended)}"
            where = tuple(drawn.at(np.array(place)))
            drawn.axes.annotate(text, where, (9, 5), textcoords="offset points", weight="bold")
        drawn.axes.autoscale_view()
        return svg(figure, "map")


def grid_map(evaluation: Result) -> Markup | None:
    """Success in each cell of a grid over the region, all starts together.

    None where the task has no region or its starts no place, and for too few of them.
    """
    placed = [*_placed(evaluation), *_placed(evaluation.get("random_starts") or {})]
    if evaluation["task"]["region"] is None or len(placed) < _ENOUGH * GRID**2:
        return None
    region = region_of(evaluation["task"], [])
    x, y = (np.linspace(*limits, GRID + 1) for limits in (region.x, region.y))
    successes, trials = grid_counts(placed, x, y)
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        drawn = Map(figure, region)
        for row, column in np.ndindex(GRID, GRID):
            count = int(successes[row, column]), int(trials[row, column])
            _draw_cell(drawn, x[row : row + 2], y[column : column + 2], *count)
        drawn.axes.autoscale_view()
        return svg(figure, "grid")


def grid_counts(placed: Sequence[Placed], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(successes, trials), each (len(x) - 1, len(y) - 1), of the cells between the edges.

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


def _of(region: SpawnRegion, axis: str) -> str:
    label = region.x_label if axis.endswith("x") else region.y_label
    return f", {label}" if label else ""


def _placed(result: Result) -> list[Placed]:
    """The place and success of each rollout whose start has a place."""
    rollouts = result.get("rollouts", ())
    return [(r["start"]["place"], r["success"]) for r in rollouts if r["start"]["place"] is not None]


def _draw_cell(drawn: Map, x: np.ndarray, y: np.ndarray, successes: int, trials: int) -> None:
    """Darker for more success; the counts are written in it."""
    rate = successes / trials if trials else 0.0
    drawn.rectangle(x, y, facecolor=DAY["hit"], edgecolor="none", alpha=0.6 * rate)
    drawn.rectangle(x, y, fill=False, edgecolor=DAY["line"])
    text = f"{successes}/{trials}" if trials else "-"
    middle = tuple(drawn.at(np.array([x.mean(), y.mean()])))
    drawn.axes.annotate(text, middle, ha="center", va="center", weight="bold")


def _draw_squares(drawn: Map, placed: Sequence[Placed], side: float, alpha: float) -> None:
    """Squares, turned by the angle: filled for a success, hollow and crossed for a failure."""
    hits = [drawn.square(place, side) for place, success in placed if success]
    misses = [drawn.square(place, side) for place, success in placed if not success]
    edges = {"facecolors": "none", "edgecolors": DAY["miss"], "linewidths": 1.3}
    drawn.axes.add_collection(PolyCollection(hits, facecolors=DAY["hit"], edgecolors="none", alpha=alpha))
    drawn.axes.add_collection(PolyCollection(misses, alpha=alpha, **edges))
    crosses = [square[diagonal] for square in misses for diagonal in ([0, 2], [1, 3])]
    drawn.axes.add_collection(LineCollection(crosses, colors=DAY["miss"], linewidths=1.3, alpha=alpha))
