"""Training curves as figures of a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from s2robot.core.errors import UserError
from s2robot.reports.html import STYLE, svg
from s2robot.utils.atomic_io import read_json

_MEND = "delete it, or train again into another folder"

Points = Sequence[tuple[int, float]]
"""(step, value) in the order of the steps."""


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves of a training, by name. Raises UserError where the file holds anything else."""
    content = read_json(path, _MEND)
    try:
        return {
            name: [(int(step), float(value)) for step, value in points] for name, points in content.items()
        }
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {_MEND}") from error


def curve_figures(curves: Mapping[str, Points]) -> list[tuple[str, Markup]]:
    """One (title, figure) for each group: `loss/train` and `loss/validation` are the group `loss`.

    A loss that is not in use, zero at every step, is left out, and so is a sum that is but one other loss.
    """
    groups: dict[str, dict[str, Points]] = defaultdict(dict)
    for name, points in curves.items():
        group, _, label = name.rpartition("/")
        if len(points):
            groups[group or label][label] = points
    used = {title: group for title, group in groups.items() if not _is_unused(group)}
    last = {_points(group): title for title, group in used.items()}  # of equal groups
    return [(title, _curve_figure(title, used[title])) for title in used if title in last.values()]


def _is_unused(group: Mapping[str, Points]) -> bool:
    """Whether it is a loss that was zero at every step; success in no rollout is a result."""
    return "train" in group and not any(value for points in group.values() for _, value in points)


def _points(group: Mapping[str, Points]) -> str:
    """What tells two groups apart."""
    return repr({label: [tuple(point) for point in points] for label, points in group.items()})


def _curve_figure(title: str, group: Mapping[str, Points]) -> Markup:
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot(xlabel="step")
        lines = {label: np.asarray(points, dtype=float) for label, points in group.items()}
        for label, line in lines.items():
            axes.plot(*line.T, label=label, marker=".", markevery=[-1])  # one point alone shows too
        values = np.concatenate([line[:, 1] for line in lines.values()])
        if values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log", subs=())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
        axes.grid()
        if list(group) != [title]:
            axes.legend()
        return svg(figure, title)
