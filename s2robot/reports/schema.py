"""What an `evaluation.json` holds, field by field, and what is wrong with one that was damaged or edited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge, Le, Len
from pydantic import AllowInfNan, TypeAdapter, ValidationError

from s2robot.core.errors import UserError

Natural = Annotated[int, Ge(0)]
Finite = Annotated[float, AllowInfNan(False)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class StartEntry:
    """A start, see `s2robot.core.task.Start`."""

    options: dict[str, Any]
    place: Annotated[list[Finite], Len(3, 3)] | None


@dataclass(frozen=True, kw_only=True)
class RolloutEntry:
    """The outcome of one rollout."""

    index: Natural
    start: StartEntry
    seed: Natural
    success: bool
    steps: Natural | None
    failure: str | None = None
    failure_text: str | None = None
    metrics: dict[str, Finite]
    digests: dict[str, str | None] | None = None
    progress: Finite = 0.0  # where it is recorded, it is a number


@dataclass(frozen=True, kw_only=True)
class ProgressEntry:
    """Mean progress and its interval."""

    mean: Finite
    bootstrap_95: Annotated[list[Finite], Len(2, 2)]


_NOT_TOLD = ProgressEntry(mean=0.0, bootstrap_95=[0.0, 0.0])


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Outcomes and what they come to."""

    successes: Natural
    trials: Annotated[int, Ge(1)]
    success_rate: Share
    wilson_95: Annotated[list[Share], Len(2, 2)]
    rollouts: list[RolloutEntry]
    progress: ProgressEntry = _NOT_TOLD


@dataclass(frozen=True, kw_only=True)
class RegionEntry:
    """Where starts lie, and how maps lay it out (`SpawnRegion`)."""

    x: Annotated[list[Finite], Len(2, 2)]
    y: Annotated[list[Finite], Len(2, 2)]
    unit: str = "m"
    right: str = "x"
    up: str = "y"
    x_label: str = ""
    y_label: str = ""
    view: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """The task's words."""

    name: str
    instruction: str
    goal: str
    fixed_starts: Natural | None = None
    failure_labels: list[str]
    metric_meanings: dict[str, str] | None = None
    region: RegionEntry | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingEntry:
    """What is looked at of the training."""

    seed: Natural | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigEntry:
    """What made the rollouts; further sections are as their commands wrote them."""

    evaluate: dict[str, Any] | None = None
    env: dict[str, Any] | None = None
    channel: dict[str, Any] | None = None
    training: TrainingEntry | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationFile(Tally):
    """The whole file; further fields are not looked at."""

    task: TaskEntry
    random_starts: Tally | None
    checkpoint_sha256: str
    config: ConfigEntry
    seed: Natural | None = None
    rate: Finite | None = None
    max_steps: Natural | None = None
    versions: dict[str, str] | None = None


def check_fields(content: Mapping[str, Any], name: str) -> None:
    """Raises UserError, in one line, for the first field of an evaluation that is not what it should be."""
    _check(EvaluationFile, content, name)
    for part in (content, content["random_starts"]):
        if part is not None:
            _check_counts(part, name)


def check_rollout(content: Any, name: str) -> None:
    """Likewise of one rollout."""
    _check(RolloutEntry, content, name)


def _check_counts(part: Mapping[str, Any], name: str) -> None:
    counted = sum(rollout["success"] for rollout in part["rollouts"]), len(part["rollouts"])
    if counted != (part["successes"], part["trials"]):
        told = f"{part['successes']} successes of {part['trials']}"
        raise UserError(
            f"{name} is damaged: it tells of {told}, its rollouts of {counted[0]} of {counted[1]}"
        )


def _check(cls: type[Any], content: Any, name: str) -> None:
    try:
        _adapter(cls).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{name} is damaged: {where}: {first['msg'].lower()}") from error
    except RecursionError as error:
        raise UserError(f"{name} is damaged: it is nested too deeply") from error


@cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)
