"""The house style of the pages that s2robot writes: one HTML file that loads nothing, day and night."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib import rc_context
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


def template(name: str, **filters: Any) -> Template:
    """The template of that name in this folder, in which `page.html.jinja` is the frame of every page."""
    environment = _ENVIRONMENT.overlay()
    environment.filters = {**_ENVIRONMENT.filters, **filters}
    return environment.get_template(name, globals=_GLOBALS)


def made_with(about: Mapping[str, Any]) -> str:
    """`s2robot 0.1.0 (commit aa166e72), torch 2.14.1, 2026-11-30`, of what is known of it.

    Args:
        about: `versions`, and maybe `git` (see `provenance.git_state`) and `date`.
    """
    versions, git = about["versions"], about.get("git")
    commit = f" (commit {git['commit'][:8]}{', changed' if git['dirty'] else ''})" if git else ""
    torch = f"torch {versions['torch']}" if "torch" in versions else None
    ours = f"s2robot {versions.get('s2robot', '')}".rstrip() + commit
    return ", ".join(filter(None, [ours, torch, about.get("date")]))


def _variables(colours: Mapping[str, str]) -> Markup:
    return Markup("; ".join(f"--{name}: {colour}" for name, colour in colours.items()))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["made_with"] = made_with

_PLAY_ALL = """
for (const films of document.querySelectorAll(".films")) {
  const button = document.createElement("button"), all = [...films.querySelectorAll("video")];
  button.textContent = "Play all";
  button.onclick = () => {
    const playing = all.some((film) => !film.paused);
    for (const film of all) { if (playing) film.pause(); else { film.currentTime = 0; film.play(); } }
    button.textContent = playing ? "Play all" : "Pause all";
  };
  films.before(button);
}
"""
"""The only script that a page may run, by its hash: without it the films play one by one."""

_GLOBALS = {
    "day": _variables(DAY),
    "night": _variables(_NIGHT),
    "play_all": Markup(_PLAY_ALL),
    "play_all_hash": Markup(base64.b64encode(hashlib.sha256(_PLAY_ALL.encode()).digest()).decode()),
}
