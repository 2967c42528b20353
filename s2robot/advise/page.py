"""An advice as a table on the terminal and as a page with one plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from s2robot.reports.html import DAY, STYLE, svg, template
from s2robot.utils.atomic_io import write_atomic

Advice = Mapping[str, Any]
"""The content of `advice.json`."""


def table(advice: Advice) -> list[str]:
    """The rows of the terminal, columns aligned, with two lines that say what they are."""
    rows = [headings(advice), *cells(advice)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = "<" + ">" * len(widths)
    lines = ["  ".join(f"{cell:{sides[i]}{widths[i]}}" for i, cell in enumerate(row)) for row in rows]
    return [*(line.rstrip() for line in lines), "", *notes(advice)]


def headings(advice: Advice) -> list[str]:
    """Of the table's columns."""
    costs = ["parameters", "GMACs", "ms", "frames/s"]
    return ["", *costs, f"off [{advice['unit']}]", "loss", "bits", "explained", "ratio", "of change"]


def cells(advice: Advice) -> list[list[str]]:
    """A row of text for each candidate, and one for the reference."""
    rows = [_row(candidate, advice["pooling"]) for candidate in advice["candidates"]]
    if reference := advice["reference"]:
        rows.append([reference["name"], *[""] * 5, *_reconstructed(reference["reconstruction"])])
    return rows


def _row(candidate: Advice, pooling: str) -> list[str]:
    last = candidate["probes"][pooling][-1]
    return [
        candidate["name"],
        f"{candidate['parameters'] / 1e6:.1f} M",
        f"{candidate['macs'] / 1e9:.1f}",
        f"{candidate['latency_ms']:.0f}",
        f"{candidate['frames_per_s']:.1f}",
        f"{last['mean']:.2f} +- {last['standard_error']:.2f}",
        *_reconstructed(candidate["reconstruction"]),
    ]


def _reconstructed(reconstruction: Advice) -> list[str]:
    if not reconstruction:
        return ["", "", "", "", ""]
    whole, change = reconstruction["all"], reconstruction["change"]
    ratio = "" if whole["ratio"] is None else f"{100 * whole['ratio']:.1f} %"
    bits, error = whole["information_bits"], whole["standard_error_bits"]
    return [
        f"{whole['loss']:.4f}",
        f"{bits:.3f}" if error is None else f"{bits:.3f} +- {error:.3f}",
        f"{100 * whole['explained']:.1f} %",
        ratio,
        f"{100 * change['explained']:.1f} %",
    ]


def notes(advice: Advice) -> list[str]:
    """What the columns mean."""
    target = next(c["name"] for c in advice["candidates"] if c["larger"])
    demos = advice["candidates"][0]["probes"][advice["pooling"]][-1]["demos"]
    reference = advice["reference"]
    against = (
        f"ratio: of the bits that {reference['name']} reconstructs"
        if reference
        else "no ratio without reference=ENCODER, a still larger model: explained is against the whole"
    )
    return [
        f"off: how far heads ({advice['pooling']}, trained on up to {demos} demos) are off in reading "
        f"{advice['read']} in {advice['frames']} frames of {advice['demos']} demos, each held out once; "
        f"predicting the mean is {advice['baseline']:.2f} off",
        f"loss, bits, explained: of the features of {target} by a linear map, on held-out demos; {against}; "
        "of change: explained of what differs from frame to frame",
    ]


def write_page(path: Path, advice: Advice) -> None:
    """Writes one HTML file that needs no network, no script and no other file, whole or not at all."""
    page = _TEMPLATE.render(
        advice=advice,
        headings=headings(advice),
        cells=cells(advice),
        notes=notes(advice),
        curves=_curves(advice),
        config=yaml.safe_dump(advice["config"], sort_keys=False, allow_unicode=True),
    )
    write_atomic(path, page)


def _curves(advice: Advice) -> Markup:
    """Error against demos, with standard errors; a line for each candidate."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.add_subplot(xlabel="demos of training", ylabel=f"off [{advice['unit']}]")
        ticks, top = set(), 0.0
        for candidate in advice["candidates"]:
            points = candidate["probes"][advice["pooling"]]
            demos = [p["demos"] for p in points]
            means, errors = [p["mean"] for p in points], [p["standard_error"] for p in points]
            axes.errorbar(demos, means, errors, label=candidate["name"], marker="o", markersize=3, capsize=2)
            ticks |= set(demos)
            top = max(top, *(mean + error for mean, error in zip(means, errors, strict=True)))
        if advice["baseline"] < 2 * top:  # else it would press the curves flat
            axes.axhline(advice["baseline"], label="predicting the mean", linewidth=0.8, color=DAY["soft"])
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(ticks), [str(n) for n in sorted(ticks)], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.legend()
        return svg(figure, "curves")


_TEMPLATE = template("advise.html.jinja")
