"""The options of `s2robot evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from s2robot.config.options import Component, Count, Natural, NonNegative, Positive, read_options, to_plain
from s2robot.data.copies import Ids

Repeats = Annotated[int, Ge(1), Le(99)]


@dataclass(frozen=True)
class RolloutOptions:
    """What an evaluation keeps of its options: all that decides its outcomes, and which starts it takes.

    The meanings are the comments of `configs/evaluate.yaml`.
    """

    checkpoint: str | None
    starts: Natural
    random_starts: Natural
    repeats: Repeats
    seed: Natural
    execution: Literal["chunk", "ensemble"]
    n_action_steps: Count
    decay: NonNegative
    max_steps: Count | None
    perturbation: str | None
    actor: Literal["policy", "expert"]


@dataclass(frozen=True)
class EvaluateOptions(RolloutOptions):
    """All options of the command."""

    out: str | None
    score: Literal["success", "offline"]
    demos: str | None
    ids: Ids
    overwrite: bool
    env: Component | None
    workers: Natural
    step_timeout: Positive
    start_timeout: Positive
    store: str | None
    replay: str | None
    index: int | None
    stages: str | None

    def recorded(self) -> RolloutOptions:
        """The part that an evaluation keeps."""
        return RolloutOptions(**{field.name: getattr(self, field.name) for field in fields(RolloutOptions)})


def read_recorded(plain: Mapping[str, Any]) -> RolloutOptions:
    """The options that an evaluation kept. Raises UserError where they are not whole."""
    return read_options(RolloutOptions, plain)


def deciding(options: RolloutOptions) -> dict[str, Any]:
    """What of the options decides the outcome of a rollout from a given start."""
    left_out = ("checkpoint", "starts", "random_starts", "repeats")
    return {name: value for name, value in to_plain(options).items() if name not in left_out}
