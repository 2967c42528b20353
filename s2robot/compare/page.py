"""The page of a comparison: sentences, forest plots, and every start with every evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2robot.compare.comparison import p_in_words, percent
from s2robot.compare.read import Arm
from s2robot.compare.result import MOST_SENTENCES, Outcomes, Row
from s2robot.config.overrides import as_override
from s2robot.reports.html import DAY, STYLE, svg, template
from s2robot.reports.result import outcome_text
from s2robot.utils.atomic_io import write_atomic

_HASH = re.compile("[0-9a-f]{40,64}")
_DIGITS = 8  # of a hash
_ROW = 0.3  # inches of a figure
_MARGIN = 0.75  # inches for the axis below


def write_page(
    path: Path,
    verdict: str,
    compared: Sequence[Arm],
    parts: Sequence[Outcomes],
    settings: Mapping[str, list[Any]],
    notes: Sequence[str],
) -> None:
    """Writes one HTML file that needs no network, no script and no other file, whole or not at all."""
    figures = [(_rates(part), _differences(part), _grid(part)) for part in parts]
    page = _TEMPLATE.render(
        verdict=verdict,
        compared=compared,
        parts=list(zip(parts, figures, strict=True)),
        settings=settings,
        notes=notes,
        most_sentences=MOST_SENTENCES,
    )
    write_atomic(path, page)


def value_text(value: Any) -> str:
    """A setting as it is written in an override, a hash by its first eight digits."""
    text = as_override(value)
    return text[:_DIGITS] if _HASH.fullmatch(text) else text


def _rates(part: Outcomes) -> Markup:
    """A forest plot: each arm, fainter each of its evaluations."""
    with rc_context(STYLE):
        rows = part.ranked if len(part.comparisons) <= MOST_SENTENCES else part.arm_rows
        figure, axes = _forest([_row_label(row) for row in rows])
        for i, row in enumerate(rows):
            _whisker(axes, i, row.rate, row.low, row.high, faint=row.is_member)
        axes.set(xlim=(-2, 102), xlabel="success rate [%]")
        return svg(figure, f"rates {part.title}")


def _differences(part: Outcomes) -> Markup | None:
    """A forest plot: the differences, and where none is."""
    if not part.comparisons:
        return None
    with rc_context(STYLE):
        figure, axes = _forest([f"{c.first} - {c.second}" for c in part.comparisons])
        axes.axvline(0, color=DAY["ink"], linewidth=0.8, linestyle=":")
        for i, c in enumerate(part.comparisons):
            _whisker(axes, i, c.difference, c.low, c.high, faint=not c.separated)
        axes.set(xlabel="difference of success rates [pp]")
        return svg(figure, f"differences {part.title}")


def _grid(part: Outcomes) -> Markup:
    """Every evaluation from every start: filled for a success, hollow and crossed for a failure."""
    with rc_context(STYLE):
        names = list(part.rollouts)
        figure, axes = _forest(names, width=10)
        size = max(9, min(60, 4000 / len(part.trials)))  # points²
        for i, rollouts in enumerate(part.rollouts.values()):
            for kind, colour in ((True, DAY["hit"]), (False, DAY["miss"])):
                at = [j for j, rollout in enumerate(rollouts) if rollout["success"] == kind]
                face = colour if kind else "none"
                axes.scatter(
                    at, [i] * len(at), s=size, marker="s", facecolors=face, edgecolors=colour, linewidths=1
                )
                if not kind:
                    axes.scatter(at, [i] * len(at), s=size, marker="x", color=colour, linewidths=1)
        axes.set(xlabel="start", xlim=(-1, len(part.trials)))
        axes.grid(visible=False)
        return svg(figure, f"grid {part.title}")


def _forest(labels: Sequence[str], width: float = 5) -> tuple[Figure, Axes]:
    """One line a label, the first on top; `width` in inches."""
    figure = Figure(figsize=(width, _MARGIN + _ROW * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure, axes


def _whisker(axes: Axes, at: int, value: float, low: float, high: float, faint: bool) -> None:
    style = {"color": DAY["soft"], "linewidth": 1.0} if faint else {"color": DAY["hit"], "linewidth": 2.0}
    axes.plot([100 * low, 100 * high], [at, at], linestyle="-", **style)
    axes.plot([100 * value], [at], marker="o", markersize=4 if faint else 6, color=style["color"])


def _row_label(row: Row) -> str:
    return f"{row.label}   {row.successes}/{row.trials}"


_TEMPLATE = template(
    "compare.html.jinja", percent=percent, p=p_in_words, full=as_override, shown=value_text, why=outcome_text
)
