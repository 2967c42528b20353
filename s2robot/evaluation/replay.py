"""`s2robot evaluate replay=evaluation.json index=7`: one rollout of an evaluation once more.

On the machine and with the versions of the evaluation it is the same to the last bit, whatever was rolled out
before it; whether it is, the hashes tell that the evaluation holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException

from s2robot.core.errors import UserError
from s2robot.core.task import Start
from s2robot.evaluation.options import EvaluateOptions, RolloutOptions, read_recorded
from s2robot.evaluation.rollouts import EvalConfig, RolloutSpec, make_context, roll_out
from s2robot.evaluation.unfinished import Rollout
from s2robot.policy.checkpoint import checkpoint_sha256
from s2robot.reports.result import all_rollouts, outcome_text, read_evaluation
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.provenance import versions

_MISFITS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What an environment raises for options and starts that are not what it takes."""

_DIFFERENT = {"model": "another model", "start": "another start", "rollout": "another rollout"}


def replay(options: EvaluateOptions) -> int:
    """Rolls out, says whether it was the same, and films it where `out` is given; 1 where it was not.

    Raises UserError for a file that holds no evaluation, an index it does not have, and another checkpoint.
    """
    evaluation = read_evaluation(Path(options.replay or ""))
    recorded = find_outcome(evaluation, options.index)
    common = _config(evaluation, options)
    _check_checkpoint(common.checkpoint, evaluation)
    start = Start.from_dict(recorded["start"])
    spec = RolloutSpec(recorded["index"], start, recorded["seed"], filmed=True)
    rollout = _roll_out(common, spec, options.replay)
    differences = list(_differences(recorded, rollout.outcome))
    ended = f"{_ended(evaluation, rollout.outcome)}: {_summary(evaluation, recorded, differences)}"
    print(f"rollout {spec.index}: {ended}")
    if options.out is not None and rollout.film is not None:
        path = Path(options.out, f"rollout_{spec.index}.mp4")
        write_atomic(path, rollout.film)
        print(f"open {path}")
    return 1 if differences else 0


def find_outcome(evaluation: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """The outcome of that index. Raises UserError for one that was not evaluated."""
    numbered = {rollout["index"]: rollout for rollout in all_rollouts(evaluation)}
    if index not in numbered:
        given = "is missing" if index is None else f"{index} was not evaluated"
        raise UserError(f"index {given}: give index=N, one of {_spans(sorted(numbered))}")
    return numbered[index]


def _config(evaluation: Mapping[str, Any], options: EvaluateOptions) -> EvalConfig:
    """What the rollouts of the evaluation had in common; a chosen environment takes its place."""
    config = evaluation["config"]
    if "evaluate" not in config:
        raise UserError(f"{options.replay} is of rollouts on a robot: only simulated ones are replayed")
    kept: RolloutOptions = read_recorded(config["evaluate"])
    kept = replace(kept, checkpoint=options.checkpoint or kept.checkpoint)
    if options.env is not None:
        return EvalConfig(kept, dict(options.env), config.get("channel"), is_chosen=True)
    if not config.get("env"):
        raise UserError(f"{options.replay} is damaged: config.env is missing, the environment")
    return EvalConfig(kept, config["env"], config.get("channel"))


def _roll_out(common: EvalConfig, spec: RolloutSpec, file: str | None) -> Rollout:
    """Raises UserError where environment or start are not what they take."""
    try:
        return roll_out(make_context(common), spec)
    except (InstantiationException, *_MISFITS) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{file}: rollout {spec.index} cannot be repeated as it was recorded ({reason})"
        ) from error


def _spans(numbers: list[int]) -> str:
    """`0 to 2, 16 to 17`."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(f"{a} to {b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))


def _check_checkpoint(checkpoint: str, evaluation: Mapping[str, Any]) -> None:
    found = checkpoint_sha256(checkpoint)
    if found != evaluation["checkpoint_sha256"]:
        raise UserError(
            f"{checkpoint} is another checkpoint than that of the evaluation "
            f"({found[:16]} against {evaluation['checkpoint_sha256'][:16]}): give checkpoint=PATH of that one"
        )


def _differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words; the outcomes of a migrated file may have no hashes to compare."""
    found = [name for name in ("success", "steps") if recorded[name] != now[name]]
    texts = [f"{name} {recorded[name]}" for name in found]
    hashes = recorded.get("digests") or {}
    return texts + [_DIFFERENT[name] for name, digest in hashes.items() if digest != now["digests"][name]]


def _summary(evaluation: Mapping[str, Any], recorded: Mapping[str, Any], differences: list[str]) -> str:
    if not differences:
        exact = recorded.get("digests")
        return "as recorded, bit for bit" if exact else "as recorded (without hashes of every bit)"
    then, now = evaluation.get("versions", {}), versions()
    others = [f"{name} {v}, now {now.get(name)}" for name, v in then.items() if v != now.get(name)]
    why = f" (recorded with {'; '.join(others)})" if others else ""
    return f"not as recorded: {', '.join(differences)}{why}"


def _ended(evaluation: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
    how = evaluation["task"]["goal"] if outcome["success"] else outcome_text(outcome)
    return f"{how}, {outcome['steps']} steps"
