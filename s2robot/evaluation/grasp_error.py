"""How far from the cube vision said it was: whether a rollout failed to see, or to do what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from s2robot.core.rollout import Actor, Subscriber
from s2robot.core.spec import Observation
from s2robot.policy.policy import Policy
from s2robot.tasks.cube_pick_failures import Scene, grasp_error


class GraspErrorTrace(Subscriber):
    """What a policy's vision says of the place of the grasp at every step; nothing of another actor's."""

    def __init__(self, actor: Actor) -> None:
        policy = getattr(actor, "policy", None)
        self._policy = policy if isinstance(policy, Policy) else None
        self._ways: list[np.ndarray] = []

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self._ways = []

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        if self._policy is not None and (way := self._policy.way()) is not None:
            self._ways.append(way)

    def off_by(self, scenes: Sequence[Scene]) -> float | None:
        """As `off_by`, of a rollout whose scenes were noted; None where vision says nothing of the place."""
        return grasp_error(scenes, self._ways) if self._ways and scenes else None
