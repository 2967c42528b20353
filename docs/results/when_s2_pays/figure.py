"""`python docs/results/when_s2_pays/figure.py`: report.md and figure.svg from the probes beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t

HERE = Path(__file__).parent
WIDTHS = {"15mm_far": 2.0, "20mm_far": 2.7, "30mm_far": 4.0, "40mm": 8.0, "60mm": 12.0}  # px at 224, about
NAMES = {
    "mvp-tiny-sim": "mvp-tiny-sim (this simulator)",
    "dinov2-small": "DINOv2-S (real images)",
    "efficientnet-lite0": "EfficientNet-lite0 (ImageNet)",
    "efficientnet-lite2": "EfficientNet-lite2, larger",
}
ONE, UPSAMPLED, COARSE, FINE = "one scale", "one scale, fine grid", "S², coarse grid", "S², fine grid"
HALF, TABLE = "one scale of half the frame", "one scale of the table"
CROPS = {
    (0.27, 0.55, 0.73, 0.78): TABLE,
    (0.13, 0.55, 0.87, 0.84): TABLE,
    (0.25, 0.45, 0.75, 0.95): HALF,
}
PAIRS = ((ONE, FINE), (ONE, COARSE), (UPSAMPLED, FINE), (ONE, TABLE), (FINE, TABLE))


def probes() -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Scene -> (encoder, scales) -> the error of each demo (cm)."""
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for scene in WIDTHS:
        for file in sorted(HERE.glob(f"{scene}_*.json")):
            for row in json.loads(file.read_text())["results"]:
                errors = np.array(row["episodes_cm"])
                found.setdefault(scene, {})[row["encoder"], scales(row)] = errors
    return found


def scales(row: dict[str, Any]) -> str:
    if row.get("crop"):
        return CROPS[tuple(row["crop"])]
    if len(row["sizes"]) == 1:
        return UPSAMPLED if "to" in row["scales"] else ONE
    return FINE if "to" in row["scales"] else COARSE


def mean(errors: np.ndarray) -> tuple[float, float]:
    """Of values of demos, and half the width of its 95 % interval."""
    n = len(errors)
    return float(errors.mean()), float(t.ppf(0.975, n - 1) * errors.std(ddof=1) / np.sqrt(n))


def report(found: dict[str, dict[tuple[str, str], np.ndarray]]) -> str:
    shown = (ONE, UPSAMPLED, COARSE, FINE, HALF, TABLE)
    lines = ["# When does S² pay? Errors of probes", ""]
    lines += ["Computed from the JSON files here; plan: [plan.md](plan.md).", ""]
    for encoder, name in NAMES.items():
        rows = [["scene", *shown, *(f"{a} - {b}" for a, b in PAIRS)]]
        for scene, read in found.items():
            own = {which: read[encoder, which] for which in shown if (encoder, which) in read}
            if own:
                values = ["{:.2f} ± {:.2f}".format(*mean(own[w])) if w in own else "" for w in shown]
                for a, b in PAIRS:
                    pair = a in own and b in own
                    values.append("{:+.2f} ± {:.2f}".format(*mean(own[a] - own[b])) if pair else "")
                rows.append([f"`{scene}`, {WIDTHS[scene]:g} px", *values])
        filled = [column for column in zip(*rows, strict=True) if any(column[1:])]
        head, *body = zip(*filled, strict=True)
        lines += [f"## {name}", "", _row(head), _row(["---"] * len(head)), *map(_row, body), ""]
    lines.append(
        "Mean error in cm ± half of a 95 % interval over demos; differences are paired by demo, above 0"
    )
    lines.append("where the second is better.")
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(found: dict[str, dict[tuple[str, str], np.ndarray]]) -> None:
    plt.rcParams["svg.hashsalt"] = "s2robot"
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, (encoder, name) in enumerate(NAMES.items()):
        scenes = [s for s in found if (encoder, ONE) in found[s]]
        for axis, which in ((left, ONE), (left, FINE), (left, TABLE), (right, FINE), (right, TABLE)):
            at = [s for s in scenes if (encoder, which) in found[s]]
            if not at:
                continue
            values = [found[s][encoder, which] for s in at]
            if axis is right:
                values = [
                    100 * (found[s][encoder, ONE] - v) / found[s][encoder, ONE].mean()
                    for s, v in zip(at, values, strict=True)
                ]
            middle, half = zip(*(mean(v) for v in values), strict=True)
            axis.errorbar(
                [WIDTHS[s] * (1 + 0.02 * number) for s in at],
                middle,
                half,
                capsize=3,
                marker="o",
                markerfacecolor="white" if which == ONE else None,
                color=f"C{number}",
                linestyle={ONE: "--", FINE: "-", TABLE: ":"}[which],
                label=f"{name.partition(' (')[0]}: {which}",
            )
    right.axhline(0, color="grey", linewidth=0.8)
    left.set(ylabel="error of the cube's place (cm)", ylim=(0, 5.5))
    right.set(ylabel="taken off the error of one scale (%)")
    for axis in (left, right):
        axis.set(xlabel="width of the cube at 224 px", xscale="log")
        axis.set_xticks(list(WIDTHS.values()), [f"{w:g}" for w in WIDTHS.values()], minor=False)
        axis.minorticks_off()
        axis.legend(fontsize=7, loc="upper right")
    figure.savefig(HERE / "figure.svg", metadata={"Date": None})


if __name__ == "__main__":
    found = probes()
    (HERE / "report.md").write_text(report(found))
    draw(found)
