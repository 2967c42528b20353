"""The page of a training: what was trained, how well it went, and what made it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open

from s2robot.policy.checkpoint import FILES, read_config
from s2robot.reports.curves import Points, curve_figures
from s2robot.reports.html import template
from s2robot.train.checkpointing import RECORD, SCORE, best_step
from s2robot.train.rollouts import CURVE
from s2robot.utils.atomic_io import read_json, write_atomic
from s2robot.utils.hashing import plain

_OF_VISION = ("pooling", "pooling_dropout", "visual_dropout")
_OF_GRASP = ("grasp_weight", "grasp_target", "grasp_conditioning")


def write_training_report(out: Path, curves: Mapping[str, Points]) -> None:
    """Writes `report.html` into the folder of a training, from its curves and `run.json`."""
    record: dict[str, Any] = read_json(out / RECORD, "delete it")
    config = read_config(out)
    page = template("training.html.jinja", percent=_percent).render(
        headline=_headline(record, config["policy"]),
        key_figures=_key_figures(out, record, curves),
        figures=curve_figures(curves),
        rollouts=curves.get(CURVE, ()),
        record=record,
        about={**record["sessions"][-1], "date": record["sessions"][-1]["began"][:10]},
        sessions=_sessions(record["sessions"]),
        policy=_as_yaml(_policy_in_force(config["policy"])),
        encoder=_as_yaml({k: v for k, v in record["options"]["encoder"].items() if v is not None}),
        options=_as_yaml({k: v for k, v in record["options"].items() if k not in ("policy", "encoder")}),
    )
    write_atomic(out / "report.html", page)


def _headline(record: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """`A transformer policy on mvp-tiny-sim features (224, 448 px) of 2 cameras, trained on 40 demos`."""
    encoder = record["options"]["encoder"]
    demos = sum(len(source["episodes"]) for source in record["demos"])
    cameras = policy["cameras"]
    seen = (
        f"on {encoder['name']} features ({', '.join(map(str, encoder['sizes']))} px) of {', '.join(cameras)}"
    )
    what = seen if policy["vision"] else "without vision"
    return f"A policy ({policy['trunk']}, {policy['head']} head) {what}, trained on {demos} demos"


def _key_figures(out: Path, record: Mapping[str, Any], curves: Mapping[str, Points]) -> dict[str, str]:
    """What it is, and its value in words."""
    found = {}
    if rollouts := curves.get(CURVE):
        step, rate = max(rollouts, key=lambda point: point[1])
        found["success in rollouts"] = (
            f"{_percent(rate)} at step {step}, the best of {len(rollouts)} checkpoints"
        )
    scores = list(curves.get(SCORE, []))
    if scores:
        best = best_step(scores)
        lowest = next(value for step, value in scores if step == best)
        found["lowest validation loss (action)"] = (
            f"{lowest:.4g} at step {best} of {record['options']['steps']}"
        )
    elif losses := curves.get("action/train"):
        found["training loss (action)"] = (
            f"{losses[-1][1]:.4g} at step {losses[-1][0]}; no demos were held out"
        )
    seconds = sum(session.get("seconds", 0.0) for session in record["sessions"])
    batch = record["options"]["batch_size"]
    found["training"] = f"{record['options']['steps']} steps of {batch} windows, {seconds / 60:.1f} min"
    found["parameters"] = f"{_parameters(out) / 1e6:.2f} M, the frozen encoder not counted"
    return found


def _parameters(out: Path) -> int:
    """How many numbers the checkpoint holds."""
    with safe_open(out / FILES[0], "np") as file:
        shapes = (file.get_slice(name).get_shape() for name in file.keys())  # noqa: SIM118
        return sum(math.prod(shape) for shape in shapes)


def _policy_in_force(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's options without those that nothing asks for."""
    unused = () if policy["vision"] else _OF_VISION
    if not (policy["vision"] and policy["grasp_weight"]):
        unused += (*_OF_GRASP, "grasp_state_indices")
    return {
        name: value for name, value in policy.items() if name not in unused and value not in (None, {}, [])
    }


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True, default_flow_style=None)


def _sessions(sessions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row each: from which step, how many steps a second, and the share of time spent waiting for data."""
    rows = []
    for session in sessions:
        steps, seconds = session.get("steps", 0), session.get("seconds", 0.0)
        git = session["git"] or {}
        rows.append(
            {
                "began": session["began"],
                "from_step": session["from_step"],
                "processes": session["processes"],
                "rate": steps / seconds if seconds else None,
                "waited": session["waited"] / seconds if seconds else None,
                "commit": git.get("commit", "")[:12] + (" (changed)" if git.get("dirty") else ""),
            }
        )
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
