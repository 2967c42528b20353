"""`evaluation.json`: how outcomes are put together, read, checked, and said in words.

What it says of failures and metrics comes from the task; nothing here knows any task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.reports.schema import check_fields
from s2robot.statistics.means import bootstrap_interval
from s2robot.statistics.rates import wilson

Result = Mapping[str, Any]

SCHEMA = 2
FIELDS = (
    *("successes", "trials", "success_rate", "wilson_95", "rollouts", "random_starts"),
    *("task", "checkpoint_sha256", "config"),
)
"""What every evaluation holds."""

_UNITS = {"m": (100.0, "cm", 1), "rad": (180 / np.pi, "degrees", 0), "s": (1.0, "s", 1)}
"""The end of a metric's name -> factor, unit and decimals with which it is shown."""


def tally(rollouts: Sequence[Result]) -> dict[str, Any]:
    """Successes, trials, rate, Wilson's 95 % interval, and the outcomes themselves.

    Where every rollout tells its progress: its mean, with the bootstrap's 95 % interval.
    """
    progress = [rollout["progress"] for rollout in rollouts if "progress" in rollout]
    successes, trials = sum(rollout["success"] for rollout in rollouts), len(rollouts)
    return {
        "successes": successes,
        "trials": trials,
        "success_rate": successes / trials,
        "wilson_95": list(wilson(successes, trials)),
        **(_progress(progress) if len(progress) == trials else {}),
        "rollouts": list(rollouts),
    }


def _progress(values: Sequence[float]) -> dict[str, Any]:
    return {"progress": {"mean": float(np.mean(values)), "bootstrap_95": list(bootstrap_interval(values))}}


def progress_text(result: Result) -> str:
    """`Mean progress 0.63 (95 % interval 0.55-0.70)`; empty where it is not told."""
    if "progress" not in result:
        return ""
    low, high = result["progress"]["bootstrap_95"]
    return f"Mean progress {result['progress']['mean']:.2f} (95 % interval {low:.2f}-{high:.2f})"


def read_evaluation(path: Path) -> dict[str, Any]:
    """The `evaluation.json` at a path, or in the folder there.

    Raises UserError where there is none, for a damaged one, and for one of another schema.
    """
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(
            f"no evaluation at {path}: expected an evaluation.json, or the folder that holds one"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is no readable JSON: {error}") from error
    check_evaluation(content, str(file))
    return content


def check_evaluation(content: Any, name: str = "evaluation", fields: Sequence[str] = FIELDS) -> None:
    """Raises UserError for what is no evaluation, lacks a field, or is of another schema."""
    if not isinstance(content, Mapping):
        raise UserError(
            f"{name} is no evaluation: it holds {type(content).__name__}, expected names and values"
        )
    if content.get("schema") != SCHEMA:
        given = content.get("schema", "none")
        raise UserError(f"{name} has schema {given}: expected {SCHEMA}; evaluate the checkpoint again")
    missing = [field for field in fields if field not in content]
    if missing:
        raise UserError(f"{name} is no evaluation: it lacks {', '.join(missing)}")
    check_fields(content, name)


def all_rollouts(evaluation: Result) -> list[Any]:
    """Those from the fixed starts, then those from the random ones."""
    parts = (evaluation, evaluation["random_starts"] or {})
    return [rollout for part in parts for rollout in part.get("rollouts", ())]


def headline(evaluation: Result, result: Result | None = None) -> str:
    """`picked up the cube in 12 of 16 rollouts (75 %, 95 % interval 51-90 %)`.

    Args:
        evaluation: whose task has the words.
        result: the tally; default that of the evaluation itself.
    """
    result = evaluation if result is None else result
    goal = evaluation["task"]["goal"]
    return f"{goal} in {result['successes']} of {result['trials']} rollouts ({certainty(result)})"


def certainty(result: Result) -> str:
    """`75 %, 95 % interval 51-90 %` of what holds a `success_rate` and its `wilson_95`."""
    low, high = result["wilson_95"]
    return f"{100 * result['success_rate']:.0f} %, 95 % interval {100 * low:.0f}-{100 * high:.0f} %"


def count_failures(rollouts: Iterable[Result], labels: Sequence[str]) -> dict[str, int]:
    """How many failed for which reason, in the order of the task's labels."""
    found = [str(rollout["failure"]) for rollout in rollouts if rollout.get("failure")]
    order = dict.fromkeys([*labels, *found])
    return {label: found.count(label) for label in order if label in found}


def outcome_text(rollout: Result) -> str:
    """Of a failed rollout: `missed by 2.3 cm (grasp error 0.5 cm)`, `grasped and dropped`, `failed`."""
    text = rollout.get("failure_text") or rollout.get("failure") or "failed"
    shown = [metric_text(name, value) for name, value in rollout.get("metrics", {}).items()]
    shown += [f"progress {rollout['progress']:.2f}"] if "progress" in rollout else []
    beyond = [metric for metric in shown if metric not in text]
    return f"{text} ({', '.join(beyond)})" if beyond else text


def metric_text(name: str, value: float) -> str:
    """`grasp_error_m`, 0.0052 -> `grasp error 0.5 cm`."""
    words, _, unit = name.rpartition("_")
    if unit not in _UNITS:
        return f"{name.replace('_', ' ')} {value:.3g}"
    factor, shown, digits = _UNITS[unit]
    return f"{words.replace('_', ' ')} {factor * value:.{digits}f} {shown}"


def metric_medians(rollouts: Sequence[Result]) -> str:
    """`Medians: grasp error 0.4 cm (successes), grasp error 0.5 cm (failures)`; empty if none is known.

    A grasp error that is alike in both says that failures do not come from where the grasp was predicted.
    """
    names = dict.fromkeys(name for rollout in rollouts for name in rollout.get("metrics", {}))
    parts = []
    for name in names:
        for success, where in ((True, "successes"), (False, "failures")):
            of = [r["metrics"][name] for r in rollouts if r["success"] is success and name in r["metrics"]]
            parts += [f"{metric_text(name, float(np.median(of)))} ({where})"] if of else []
    return f"Medians: {', '.join(parts)}" if parts else ""


def metrics_explained(rollouts: Sequence[Result], meanings: Mapping[str, str]) -> list[str]:
    """`Grasp error: how far ...` for each metric that a rollout has and the task explains."""
    names = dict.fromkeys(name for rollout in rollouts for name in rollout.get("metrics", {}))
    told = [(name.rpartition("_")[0].replace("_", " "), meanings[name]) for name in names if name in meanings]
    return [f"{name[0].upper()}{name[1:]}: {meaning}." for name, meaning in told]
