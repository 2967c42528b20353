"""The options of `s2robot record`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from s2robot.config.options import Component, Count, Natural, Positive
from s2robot.teleop.leader import LeaderOptions


@dataclass(frozen=True)
class RecordOptions:
    """See configs/record.yaml."""

    env: Component
    robot: Component
    teleop: str
    episodes: Count
    out: str
    resume: bool
    images: Literal["lossless", "jpeg"]
    quality: Annotated[int, Ge(1), Le(100)]
    workers: Natural
    step_timeout: Positive
    start_timeout: Positive
    seed: Natural
    attempts: Count
    checkpoint: str | None
    takeover_after: Natural
    instruction: str | None
    operator: str
    notes: str
    limit: Count
    view: Literal["front", "robot"]
    host: str
    port: Natural
    phone_port: Natural
    leader: LeaderOptions
    expert: Component  # empty for an environment without one
