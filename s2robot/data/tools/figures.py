"""The figures of `s2robot demos inspect`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from cycler import cycler
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from s2robot.core.spec import RobotSpec
from s2robot.core.task import SpawnRegion
from s2robot.data.tools.changes import changing_box
from s2robot.data.tools.outliers import Held, at_moments, scale
from s2robot.reports.html import DAY, STYLE, svg
from s2robot.reports.maps import Map, Place, surrounding

CELLS = 4  # of the map, on each side
BINS = 20  # of a histogram, at most
LINES = 8  # in one figure, at most: more cannot be told apart
_POINTS = 60  # moments of an episode in the bands
_COLUMNS = 3  # of small figures
_COLOURS = ("blue", "orange", "green", "red", "purple", "brown", "pink", "gray", "olive", "cyan")
_MANY = cycler(ls=["-", "--"]) * cycler(color=[f"tab:{name}" for name in _COLOURS])  # 20 different lines


def coverage_map(places: Mapping[str, Place], flagged: Collection[str], region: SpawnRegion | None) -> Markup:
    """The places of the starts, laid out as the task's region is, and their number in each cell."""
    around = surrounding(list(places.values()), like=region)
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        drawn = Map(figure, around)
        _draw_counts(drawn, *cell_counts(list(places.values())))
        side = drawn.marker_side() / 2
        squares = {i: drawn.square(place, side) for i, place in places.items()}
        plain, hollow = (
            [s for i, s in squares.items() if (i in flagged) == which] for which in (False, True)
        )
        drawn.axes.add_collection(PolyCollection(plain, facecolors=DAY["hit"], edgecolors="none", alpha=0.8))
        edges = {"facecolors": "none", "edgecolors": DAY["miss"], "linewidths": 1.3}
        drawn.axes.add_collection(PolyCollection(hollow, **edges))
        drawn.axes.autoscale_view()
        return svg(figure, "coverage")


def cell_counts(places: Sequence[Place]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the rectangle around places: their count in each cell, and the edges of the cells in x and in y."""
    around = surrounding(places)
    edges = [np.linspace(*limits, CELLS + 1) for limits in (around.x, around.y)]
    x, y = np.array([place[:2] for place in places]).T
    return np.histogram2d(x, y, bins=edges)[0].astype(int), edges[0], edges[1]


def _draw_counts(drawn: Map, counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for row, column in np.ndindex(CELLS, CELLS):
        cell = x[row : row + 2], y[column : column + 2]
        drawn.rectangle(*cell, fill=False, edgecolor=DAY["line"], linewidth=0.8)
        colour = DAY["soft"] if counts[row, column] else DAY["miss"]
        middle = tuple(drawn.at(np.array([edges.mean() for edges in cell])))
        drawn.axes.annotate(str(counts[row, column]), middle, ha="center", va="center", color=colour)


def histogram(values: Sequence[float], label: str, step: float, expected: float | None = None) -> Markup:
    """How many episodes have which value, in at most `BINS` bins; a dashed line where it was expected.

    Args:
        step: the least width of a bin; it is one such step or several.
    """
    width = step * max(1, math.ceil((max(values) - min(values)) / step / BINS))
    first, last = math.floor(min(values) / width), math.ceil(max(values) / width)
    edges = width * (np.arange(first, last + 2) - 0.5)
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 2.2), layout="constrained")
        axes = figure.add_subplot(xlabel=label, ylabel="episodes")
        axes.hist(values, bins=list(edges), color=DAY["hit"], rwidth=0.85)
        if expected is not None:
            axes.axvline(expected, color=DAY["miss"], ls="--")
        rest = max(0, BINS // 2 - len(edges)) * width  # few bins are no wall from side to side
        axes.set_xlim(edges[0] - rest - width, edges[-1] + rest + width)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return svg(figure, label)


def bands(episodes: Held, name: str, labels: Sequence[str], flagged: Collection[str]) -> Markup:
    """Each entry of an array over the episodes: all, nine of ten, and the median; a few of those flagged."""
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
            for episode_id in list(flagged)[:LINES]:
                axes.plot(share, arrays[episode_id][:, entry], color=DAY["miss"], ls="-", lw=0.6)
            if entry < len(labels) - _COLUMNS:
                axes.set_xticklabels([])
        return svg(figure, name)


def change_maps(maps: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Markup:
    """Of each camera the mean frame, in orange what changes, and the box around it.

    Args:
        maps: by camera, mean and standard deviation of each pixel, (h, w), 0 to 255.
    """
    rows = math.ceil(len(maps) / _COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3 * rows), layout="constrained")
        for number, (camera, (mean, deviation)) in enumerate(maps.items()):
            axes = figure.add_subplot(rows, _COLUMNS, number + 1)
            frame = {"extent": (0, 1, 1, 0), "aspect": mean.shape[0] / mean.shape[1]}
            axes.imshow(mean, cmap="gray", vmin=0, vmax=255, **frame)
            alpha = deviation / max(deviation.max(), 1)
            axes.imshow(np.ones_like(mean), cmap=ListedColormap([DAY["miss"]]), alpha=0.8 * alpha, **frame)
            left, top, right, bottom = box = changing_box(deviation)
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=DAY["hit"]))
            axes.set_title(f"{camera}: [{','.join(f'{edge:g}' for edge in box)}]", fontsize=9)
        return svg(figure, "changes")


def curves(episode_id: str, episodes: Held, spec: RobotSpec) -> Markup:
    """One episode's actions as asked for, and its proprioception, over time (s).

    Entries of different units share a figure: each in its standard deviations from its mean over the store.
    Those that move most are lines, the others a band from the least to the greatest of them.
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
            _draw_entries(axes, time, (getattr(episode, name) - mean) / deviation, labels)
        return svg(figure, episode_id)


def _draw_entries(axes: Axes, time: np.ndarray, array: np.ndarray, labels: Sequence[str]) -> None:
    """The entries of an array (T, D), with a legend."""
    most = sorted(np.argsort(-np.ptp(array, axis=0), kind="stable")[:LINES].tolist())
    rest = [entry for entry in range(len(labels)) if entry not in most]
    if rest:
        low, high = array[:, rest].min(axis=1), array[:, rest].max(axis=1)
        axes.fill_between(time, low, high, color=DAY["soft"], alpha=0.25, lw=0, label=f"{len(rest)} others")
    for entry in most:
        axes.plot(time, array[:, entry], label=labels[entry], lw=0.9)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=6)
