"""The page that shows how often the policy picks up the cube, where it does not, and what made it."""

from __future__ import annotations

import base64
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator

from s2robot.errors import UserError
from s2robot.provenance import plain, write_atomic

Result = Mapping[str, Any]
Points = Sequence[tuple[int, float]]

FIELDS = (
    *("successes", "trials", "success_rate", "wilson_95", "positions", "rectangle", "rate", "max_steps"),
    *("seed", "versions", "checkpoint_sha256", "config"),
)
"""What an evaluation must hold to be shown."""

_DAY = {"ink": "#1b2430", "soft": "#667084", "line": "#d5dbe4", "hit": "#1f6fb3", "miss": "#c2510b"}
_NIGHT = {"ink": "#e4e8ee", "soft": "#97a1b2", "line": "#363e4a", "hit": "#62aeea", "miss": "#f2914e"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollars
    "font.size": 9,
    "axes.labelcolor": _DAY["soft"],
    "axes.edgecolor": _DAY["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _DAY["ink"],
    "xtick.color": _DAY["line"],
    "ytick.color": _DAY["line"],
    "xtick.labelcolor": _DAY["soft"],
    "ytick.labelcolor": _DAY["soft"],
    "grid.color": _DAY["line"],
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "axes.prop_cycle": cycler(
        color=[_DAY[n] for n in ("hit", "miss", "ink", "soft")], ls=["-", "--", "-.", ":"]
    ),
}


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
        figures=_curve_figures(curves or {}),
        stages=stages or (),
    )
    write_atomic(path, page)


def headline(result: Result) -> str:
    """`picked up the cube at 12 of 16 positions (75 %, 95 % interval 51-90 %)`."""
    count = f"{result['successes']} of {result['trials']}"
    return f"picked up the cube at {count} positions ({_certainty(result)})"


def _table_map(evaluation: Result) -> Markup:
    """The table from above: x up the page, away from the robot, and y to the left, as the robot sees it."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.add_subplot(aspect="equal")
        (x, x_end), (y, y_end) = evaluation["rectangle"]["x"], evaluation["rectangle"]["y"]
        axes.add_patch(
            Rectangle((y, x), y_end - y, x_end - x, fill=False, edgecolor=_DAY["soft"], linestyle=":")
        )
        _draw_cubes(axes, (evaluation.get("extra") or {}).get("positions", ()), side=0.010, alpha=0.35)
        _draw_cubes(axes, evaluation["positions"], side=0.020, alpha=1.0)
        for index, p in enumerate(evaluation["positions"]):
            axes.annotate(str(index), (p["y"], p["x"]), (9, 5), textcoords="offset points", weight="bold")
        axes.autoscale_view()
        axes.invert_xaxis()
        axes.set(xlabel="y [m], the robot's left is left", ylabel="x [m], away from the robot")
        return _svg(figure, "map")


def _draw_cubes(axes: Axes, positions: Sequence[Result], side: float, alpha: float) -> None:
    """Squares of `side` (m), turned by yaw: filled for a pick, hollow and crossed for a miss."""
    hits = [_corners(p, side) for p in positions if p["success"]]
    misses = [_corners(p, side) for p in positions if not p["success"]]
    edges = {"facecolors": "none", "edgecolors": _DAY["miss"], "linewidths": 1.3}
    axes.add_collection(PolyCollection(hits, facecolors=_DAY["hit"], edgecolors="none", alpha=alpha))
    axes.add_collection(PolyCollection(misses, alpha=alpha, **edges))
    crosses = [square[diagonal] for square in misses for diagonal in ([0, 2], [1, 3])]
    axes.add_collection(LineCollection(crosses, colors=_DAY["miss"], linewidths=1.3, alpha=alpha))


def _corners(position: Result, side: float) -> np.ndarray:
    """The square's corners as the map's (y, x): (4, 2), in m."""
    angles = position["yaw"] + np.pi / 4 + np.pi / 2 * np.arange(4)
    offsets = side / np.sqrt(2) * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.array([position["y"], position["x"]]) + offsets


def _curve_figures(curves: Mapping[str, Points]) -> list[tuple[str, Markup]]:
    """One (title, figure) for each group: `loss/train` and `loss/validation` are the group `loss`."""
    groups: dict[str, dict[str, Points]] = defaultdict(dict)
    for name, points in curves.items():
        group, _, label = name.rpartition("/")
        if len(points):
            groups[group or label][label] = points
    return [(title, _curve_figure(title, group)) for title, group in groups.items()]


def _curve_figure(title: str, group: Mapping[str, Points]) -> Markup:
    with rc_context(_STYLE):
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
        return _svg(figure, title)


def _svg(figure: Figure, name: str) -> Markup:
    """The figure as an inline SVG element whose colours follow the page, day and night."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):  # no two figures of the page share an id
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r' id="\w+[_.]\w*\d+"', "", text[text.index("<svg") :])
    for variable, colour in _DAY.items():
        text = text.replace(colour, f"var(--{variable})")
    return Markup(text)


def _certainty(result: Result) -> str:
    low, high = result["wilson_95"]
    return f"{100 * result['success_rate']:.0f} %, 95 % interval {100 * low:.0f}-{100 * high:.0f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _failures_first(positions: Sequence[Result]) -> list[tuple[int, Result]]:
    return sorted(enumerate(positions), key=lambda numbered: numbered[1]["success"])


def _variables(colours: Mapping[str, str]) -> str:
    return "; ".join(f"--{name}: {colour}" for name, colour in colours.items())


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; media-src data:">
<title>{{ evaluation.successes }} of {{ evaluation.trials }}: s2robot evaluation</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --tint: #f5f7fa; {{ day }} }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --tint: #1b2129; {{ night }} } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
h1 { font-size: clamp(1.5rem, 5vw, 2.4rem); line-height: 1.15; margin: 0 0 .5rem; text-wrap: balance }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem }
p { margin: .25rem 0 }
code, pre { font-family: ui-monospace, monospace }
figcaption, dt, th { color: var(--soft); font-size: .875rem }
figure { margin: 0 }
svg { display: block; width: 100%; height: auto }
svg text { font-family: inherit !important }
.map text { paint-order: stroke; stroke: var(--paper); stroke-width: 3px }
.bar { position: relative; height: .5rem; max-width: 30rem; margin: .75rem 0; border-radius: 1rem;
  background: var(--line) }
.bar i, .bar b { position: absolute; top: 0; bottom: 0; border-radius: 1rem; background: var(--hit) }
.bar i { opacity: .45 } .bar b { width: 4px; margin: -3px -2px }
.two { display: grid; gap: 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)) }
.films { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)) }
video { display: block; width: 100%; border-radius: .4rem; background: var(--tint) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .875rem; white-space: nowrap }
th, td { padding: .25rem .4rem; text-align: right; border-bottom: 1px solid var(--line) }
th { font-weight: 500 }
.stages { width: auto }
.hit { color: var(--hit) } .miss { color: var(--miss); font-weight: 600 }
pre { overflow-x: auto; padding: 1rem; border-radius: .4rem; background: var(--tint); font-size: .8rem }
summary { cursor: pointer } details { margin: .75rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 0 }
dd { margin: 0; overflow-wrap: anywhere }
</style>
</head>
<body>
{% macro bar(result) %}
{% set low, high = result.wilson_95 %}
<div class="bar"><i style="left: {{ 100 * low }}%; width: {{ 100 * (high - low) }}%"></i>
<b style="left: {{ 100 * result.success_rate }}%"></b></div>
{% endmacro %}
{% macro outcome(success) %}
<span class="{{ 'hit' if success else 'miss' }}">{{ '✓ picked up' if success else '✗ missed' }}</span>
{%- endmacro %}
{% macro table(positions) %}
<div class="scroll"><table>
<tr><th>position<th>x [m]<th>y [m]<th>yaw [rad]<th>outcome<th>steps (time)<th>seed</tr>
{% for index, p in positions | failures_first %}
<tr><td>{{ index }}<td>{{ '%.3f' % p.x }}<td>{{ '%.3f' % p.y }}<td>{{ '%.2f' % p.yaw }}
<td>{{ outcome(p.success) }}
<td>{% if p.steps is none %}-{% else %}{{ p.steps }} ({{ '%.1f' % (p.steps / evaluation.rate) }} s){% endif %}
<td>{{ p.seed }}</tr>
{% endfor %}
</table></div>
{% endmacro %}
<header>
<h1>Picked up the cube at {{ evaluation.successes }} of {{ evaluation.trials }} positions</h1>
{{ bar(evaluation) }}
<p>{{ evaluation | certainty }} (Wilson)</p>
{% if extra %}
<p>And at {{ extra.successes }} of {{ extra.trials }} further positions:
{{ extra | certainty }} (Wilson)</p>
{% endif %}
</header>
<section class="two">
<figure class="map">
<h2>Where</h2>
{{ table_map }}
<figcaption>From above, the robot below. Filled: picked up. Hollow and crossed: missed.
{% if extra %}Small and faint: further positions.{% endif %} Dotted: where demos place the cube.</figcaption>
</figure>
<div><h2>Positions, misses first</h2>{{ table(evaluation.positions) }}
{% if extra %}
<details><summary>{{ extra.trials }} further positions</summary>{{ table(extra.positions) }}</details>
{% endif %}
</div>
</section>
{% if videos %}
<h2>Rollouts, misses first</h2>
<section class="films">
{% for video in videos %}
<figure><video controls muted loop playsinline preload="metadata" src="{{ video.url }}"></video>
<figcaption>{{ outcome(video.success) }} {{ video.title }}</figcaption></figure>
{% endfor %}
</section>
{% endif %}
{% if figures %}
<h2>Training</h2>
<section class="two">
{% for title, figure in figures %}
<figure><figcaption>{{ title }}</figcaption>{{ figure }}</figure>
{% endfor %}
</section>
{% endif %}
{% if stages %}
<h2>Time of each stage</h2>
<table class="stages">
{% for name, seconds in stages %}
<tr><th>{{ name }}<td>{{ seconds | duration }}</tr>
{% endfor %}
<tr><th>together<td>{{ stages | sum(attribute=1) | duration }}</tr>
</table>
{% endif %}
<h2>What made this</h2>
<dl>
<dt>seed<dd>{{ evaluation.seed }}
<dt>time allowed<dd>{{ evaluation.max_steps }} steps at {{ evaluation.rate }} Hz
<dt>checkpoint<dd>sha256 <code>{{ evaluation.checkpoint_sha256 }}</code>
{% for name, version in evaluation.versions | items %}
<dt>{{ name }}<dd>{{ version }}
{% endfor %}
</dl>
<details><summary>Configuration</summary><pre>{{ config }}</pre></details>
</body>
</html>
"""

_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters |= {"certainty": _certainty, "duration": _duration, "failures_first": _failures_first}
_TEMPLATE = _ENVIRONMENT.from_string(
    _PAGE, globals={"day": Markup(_variables(_DAY)), "night": Markup(_variables(_NIGHT))}
)
