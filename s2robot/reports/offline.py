"""The page of an offline score: how far predicted actions are from those of demos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from s2robot.reports.html import STYLE, svg, template
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.hashing import plain

CAVEAT = (
    "An error of actions is not success: small errors add up while a policy acts, and one of larger error "
    "may succeed more often. Only rollouts, in a simulator or on the robot, tell success."
)
"""What every offline score says of itself."""

Result = Mapping[str, Any]


def summary(result: Result) -> str:
    """A line an entry: `dx [m]: 0.0012 (95 % interval 0.0011-0.0014); ...`, with what looks at nothing."""
    head = f"mean absolute error of actions on {result['which']} ({_count(result)}):"
    lines = [
        f"  {label}: {_text(entry['error'])}; the mean action {entry['mean_action_error']:.3g}, "
        f"the last one again {entry['last_action_error']:.3g}"
        for label, entry in result["entries"].items()
    ]
    return "\n".join([head, *lines])


def write_offline_report(path: Path, result: Result) -> None:
    """Writes one HTML file that needs no network and no other file."""
    figures = [(label, _figure(label, entry["by_step"])) for label, entry in result["entries"].items()]
    config = yaml.safe_dump(plain(result["config"]), sort_keys=False, allow_unicode=True)
    page = template("offline.html.jinja", text=_text, number="{:.3g}".format)
    write_atomic(path, page.render(result=result, count=_count(result), figures=figures, config=config))


def _count(result: Result) -> str:
    count = len(result["episodes"])
    return f"{count} episodes" if count > 1 else "1 episode, so without intervals"


def _text(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "-"
    interval = found["bootstrap_95"]
    between = f" (95 % interval {interval[0]:.3g}-{interval[1]:.3g})" if interval else ""
    return f"{found['mean']:.3g}{between}"


def _figure(label: str, steps: Sequence[Mapping[str, Any]]) -> Markup:
    """The error at each step of the chunk, with its interval."""
    known = [(h, step) for h, step in enumerate(steps, start=1) if step["mean"] is not None]
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 2.5), layout="constrained")
        axes = figure.add_subplot(xlabel="step of the chunk", ylabel=label)
        axes.plot([h for h, _ in known], [step["mean"] for _, step in known], marker=".")
        banded = [(h, *step["bootstrap_95"]) for h, step in known if step["bootstrap_95"]]
        if banded:
            at, low, high = zip(*banded, strict=True)
            axes.fill_between(at, low, high, alpha=0.25, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.grid()
        return svg(figure, label)
