"""The house style of the pages that s2robot writes: one HTML file that loads nothing, day and night."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

DAY = {"ink": "#1b2430", "soft": "#667084", "line": "#d5dbe4", "hit": "#1f6fb3", "miss": "#c2510b"}
"""The colours to draw with; `svg` turns them into the page's variables of these names."""
_NIGHT = {"ink": "#e4e8ee", "soft": "#97a1b2", "line": "#363e4a", "hit": "#62aeea", "miss": "#f2914e"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollars
    "font.size": 9,
    "axes.labelcolor": DAY["soft"],
    "axes.edgecolor": DAY["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": DAY["ink"],
    "xtick.color": DAY["line"],
    "ytick.color": DAY["line"],
    "xtick.labelcolor": DAY["soft"],
    "ytick.labelcolor": DAY["soft"],
    "grid.color": DAY["line"],
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "axes.prop_cycle": cycler(
        color=[DAY[n] for n in ("hit", "miss", "ink", "soft")], ls=["-", "--", "-.", ":"]
    ),
}
"""Of matplotlib, for `rc_context`."""


def svg(figure: Figure, name: str) -> Markup:
    """The figure as an inline SVG element whose colours follow the page, day and night."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):  # no two figures of the page share an id
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r' id="\w+[_.]\w*\d+"', "", text[text.index("<svg") :])
    for variable, colour in DAY.items():
        text = text.replace(colour, f"var(--{variable})")
    return Markup(text)


def map_axes(figure: Figure) -> Axes:
    """Axes for (y, x) points of the table from above: x up the page, away from the robot, y to the left."""
    axes = figure.add_subplot(aspect="equal")
    axes.invert_xaxis()
    axes.set(xlabel="y [m], the robot's left is left", ylabel="x [m], away from the robot")
    return axes


def corners(x: float, y: float, yaw: float, side: float) -> np.ndarray:
    """The corners of a square (m) on the map, as its (y, x): (4, 2)."""
    angles = yaw + np.pi / 4 + np.pi / 2 * np.arange(4)
    return np.array([y, x]) + side / np.sqrt(2) * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def template(name: str, **filters: Any) -> Template:
    """The template of that name in this folder, in which `page.html.jinja` is the frame of every page."""
    environment = _ENVIRONMENT.overlay()
    environment.filters = {**_ENVIRONMENT.filters, **filters}
    return environment.get_template(name, globals=_COLOURS)


def _variables(colours: Mapping[str, str]) -> Markup:
    return Markup("; ".join(f"--{name}: {colour}" for name, colour in colours.items()))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_COLOURS = {"day": _variables(DAY), "night": _variables(_NIGHT)}
