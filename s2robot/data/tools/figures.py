"""The figures of `s2robot demos inspect`."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from cycler import cycler
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from s2robot.core.spec import RobotSpec
from s2robot.data.tools.outliers import Held, at_moments, scale
from s2robot.reports.html import DAY, STYLE, corners, map_axes, svg

CELLS = 4  # of the map, on each side
_SIDE = 0.01  # m, of the squares on the map
_POINTS = 60  # moments of an episode in the bands
_COLUMNS = 3  # of small figures
_COLOURS = ("blue", "orange", "green", "red", "purple", "brown", "pink", "gray", "olive", "cyan")
_MANY = cycler(ls=["-", "--"]) * cycler(color=[f"tab:{name}" for name in _COLOURS])  # 20 different lines


def coverage_map(places: dict[str, tuple[float, float, float]], flagged: Collection[str]) -> Markup:
    """The places of the starts from above, and their number in each cell of the rectangle around them."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = map_axes(figure)
        _draw_counts(axes, *cell_counts(np.array([place[:2] for place in places.values()])))
        squares = {i: corners(x, y, angle, _SIDE) for i, (x, y, angle) in places.items()}
        plain, hollow = (
            [s for i, s in squares.items() if (i in flagged) == which] for which in (False, True)
        )
        axes.add_collection(PolyCollection(plain, facecolors=DAY["hit"], edgecolors="none", alpha=0.8))
        axes.add_collection(PolyCollection(hollow, facecolors="none", edgecolors=DAY["miss"], linewidths=1.3))
        axes.autoscale_view()
        return svg(figure, "coverage")


def cell_counts(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of places (E, 2) in m: the count in each cell, and the edges of the cells in x and in y."""
    low, high = places.min(axis=0) - 1e-3, places.max(axis=0) + 1e-3  # places on a line have cells too
    edges = [np.linspace(a, b, CELLS + 1) for a, b in zip(low, high, strict=True)]
    counts, x, y = np.histogram2d(*places.T, bins=edges)
    return counts.astype(int), x, y


def _draw_counts(axes: Axes, counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for row in range(CELLS):
        for column in range(CELLS):
            corner, height = (y[column], x[row]), x[row + 1] - x[row]
            axes.add_patch(
                Rectangle(corner, y[column + 1] - y[column], height, fill=False, ec=DAY["line"], lw=0.8)
            )
            colour = DAY["soft"] if counts[row, column] else DAY["miss"]
            middle = (y[column : column + 2].mean(), x[row : row + 2].mean())
            axes.annotate(str(counts[row, column]), middle, ha="center", va="center", color=colour)


def histogram(values: Sequence[float], label: str, expected: float | None = None) -> Markup:
    """How many episodes have which value; a dashed line where it was expected."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 2.2), layout="constrained")
        axes = figure.add_subplot(xlabel=label, ylabel="episodes")
        spread = max(values) - min(values)
        edges = (
            "auto" if spread > 1e-6 * max(1.0, abs(max(values))) else [min(values) - 0.5, max(values) + 0.5]
        )
        axes.hist(values, bins=edges, color=DAY["hit"])
        if expected is not None:
            axes.axvline(expected, color=DAY["miss"], ls="--")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return svg(figure, label)


def bands(episodes: Held, name: str, labels: Sequence[str], flagged: Collection[str]) -> Markup:
    """Each entry of an array over the episodes: all, nine of ten, and the median; those flagged as lines."""
    arrays = {i: at_moments(getattr(episode, name), _POINTS) for i, episode in episodes.items()}
    quantiles = np.quantile(np.stack(list(arrays.values())), [0, 0.05, 0.5, 0.95, 1], axis=0)
    rows = math.ceil(len(labels) / _COLUMNS)
    share = np.linspace(0, 1, _POINTS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 1.7 * rows))
        figure.subplots_adjust(0.06, 0.25 / rows, 0.99, 1 - 0.15 / rows, hspace=0.5)
        for entry, label in enumerate(labels):
            axes = figure.add_subplot(rows, _COLUMNS, entry + 1)
            axes.set_title(label, fontsize=9)
            least, low, median, high, most = quantiles[:, :, entry]
            axes.fill_between(share, least, most, color=DAY["hit"], alpha=0.15, lw=0)
            axes.fill_between(share, low, high, color=DAY["hit"], alpha=0.3, lw=0)
            axes.plot(share, median, color=DAY["hit"], ls="-")
            for episode_id in flagged:
                axes.plot(share, arrays[episode_id][:, entry], color=DAY["miss"], ls="-", lw=0.6)
            if entry < len(labels) - _COLUMNS:
                axes.set_xticklabels([])
        return svg(figure, name)


def curves(episode_id: str, episodes: Held, spec: RobotSpec) -> Markup:
    """One episode's actions as asked for, and its proprioception, over time (s).

    Entries of different units share a figure: each in its standard deviations from its mean over the store.
    """
    episode = episodes[episode_id]
    time = episode.time - episode.time[0]
    parts = (("action", spec.action, 0.03, 0.31), ("proprio", spec.proprio, 0.5, 0.24))
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 2.2))
        for name, labels, left, width in parts:
            axes = figure.add_axes((left, 0.2, width, 0.68), xlabel="s")  # room for the legend beside it
            axes.set_title(name, fontsize=9)
            axes.set_prop_cycle(_MANY)
            mean, deviation = scale(episodes, name)
            for column, label in zip(((getattr(episode, name) - mean) / deviation).T, labels, strict=True):
                axes.plot(time, column, label=label, lw=0.9)
            columns = math.ceil(len(labels) / 8)
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=6, ncols=columns)
        return svg(figure, episode_id)
