"""`s2robot evaluate replay=evaluation.json position=7`: one rollout of an evaluation once more.

On the machine and with the versions of the evaluation it is the same to the last bit, whatever was rolled out
before it; whether it is, the hashes tell that the evaluation holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.evaluation.failures import in_words
from s2robot.evaluation.rollouts import EvalConfig, RolloutSpec, roll_out, set_stage
from s2robot.policy.checkpoint import checkpoint_sha256
from s2robot.utils.provenance import versions, write_atomic

_TOLD = {"model": "another model", "start": "another start", "rollout": "another rollout"}


def replay(plain: Mapping[str, Any]) -> int:
    """Rolls out, says whether it was the same, and films it where `out` is given; 1 where it was not.

    Raises UserError for a file that holds no evaluation, a position it does not have, and another checkpoint.
    """
    evaluation = read_evaluation(Path(plain["replay"]))
    recorded = find_outcome(evaluation, plain["position"])
    config = evaluation["config"]
    options = {**config["evaluate"], "checkpoint": plain["checkpoint"] or config["evaluate"]["checkpoint"]}
    _check_checkpoint(options["checkpoint"], evaluation)
    index, pose = plain["position"], (recorded["x"], recorded["y"], recorded["yaw"])
    stage = set_stage(EvalConfig(options, config["env"], config.get("channel")))
    rollout = roll_out(stage, RolloutSpec(index, pose, recorded["seed"], filmed=True))
    differences = list(_differences(recorded, rollout.outcome))
    print(f"position {index}: {_ended(rollout.outcome)}: {_verdict(evaluation, recorded, differences)}")
    if plain["out"] is not None and rollout.film is not None:
        path = Path(plain["out"], f"position_{index}.mp4")
        write_atomic(path, rollout.film)
        print(f"open {path}")
    return 1 if differences else 0


def read_evaluation(path: Path) -> dict[str, Any]:
    """The `evaluation.json` at a path, or in the folder there. Raises UserError where there is none."""
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        evaluation = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"no evaluation at {path}: expected an evaluation.json, or its folder") from None
    except ValueError as error:
        raise UserError(f"{file} is no readable JSON: {error}") from error
    absent = [k for k in ("positions", "config", "checkpoint_sha256") if k not in evaluation]
    if absent:
        raise UserError(f"{file} is no evaluation: it lacks {', '.join(absent)}")
    return evaluation


def find_outcome(evaluation: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """The outcome at a position, by its number. Raises UserError for one that was not evaluated."""
    outcomes = [*evaluation["positions"], *(evaluation.get("extra") or {}).get("positions", ())]
    numbered = {outcome.get("index", i): outcome for i, outcome in enumerate(outcomes)}
    if index not in numbered:
        given = "is missing" if index is None else f"{index} was not evaluated"
        raise UserError(f"position {given}: give position=N, one of {_spans(sorted(numbered))}")
    return numbered[index]


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
    """In words; older evaluations have no hashes to compare."""
    found = [name for name in ("success", "steps") if recorded[name] != now[name]]
    told = [f"{name} {recorded[name]}" for name in found]
    hashes = recorded.get("digests") or {}
    return told + [_TOLD[name] for name, digest in hashes.items() if digest != now["digests"][name]]


def _verdict(evaluation: Mapping[str, Any], recorded: Mapping[str, Any], differences: list[str]) -> str:
    if not differences:
        exact = "digests" in recorded
        return "as recorded, bit for bit" if exact else "as recorded (without hashes of every bit)"
    then, now = evaluation.get("versions", {}), versions()
    others = [f"{name} {v}, now {now.get(name)}" for name, v in then.items() if v != now.get(name)]
    why = f" (recorded with {'; '.join(others)})" if others else ""
    return f"not as recorded: {', '.join(differences)}{why}"


def _ended(outcome: Mapping[str, Any]) -> str:
    how = "picked up" if outcome["success"] else in_words(outcome)
    return f"{how}, {outcome['steps']} steps"
