"""The options of `s2robot deploy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from s2robot.config.options import Component, Count, Natural, NonNegative, Positive, Share
from s2robot.policy.execution.asynchronous import ChunkBlending


@dataclass(frozen=True)
class DeployOptions:
    """See configs/deploy.yaml."""

    checkpoint: str | None
    server: str | None
    api_key: str | int | None
    proxy: str | None
    out: str
    robot: Component
    task: Component | None
    teleop: Literal["browser", "terminal", "none"]
    operator: str | None
    notes: str
    starts: Natural
    rollouts: Count
    seed: Natural
    dry_run: Positive
    max_clamped: Share
    recover: bool
    force: bool
    join: Literal["chunk", "ensemble"]
    blend: Natural
    decay: float
    inference_slack: NonNegative
    max_chunk_age: Positive
    threads: Count | None
    host: str
    port: Natural

    @property
    def blending(self) -> ChunkBlending:
        """How chunks become actions."""
        return ChunkBlending(self.join, self.blend, self.decay, self.inference_slack, self.max_chunk_age)
