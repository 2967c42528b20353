"""How far from the cube vision said it was: whether a rollout failed to see, or to do what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from s2robot.core.rollout import Actor, Subscriber
from s2robot.core.spec import Observation
from s2robot.evaluation.failures import CLOSED, Scene
from s2robot.policy.policy import Policy


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
        return off_by(scenes, self._ways) if self._ways and scenes else None


def off_by(scenes: Sequence[Scene], ways: Sequence[np.ndarray]) -> float:
    """From where vision said the grasp would be to the cube's centre, along the table (m).

    The median of the steps before the fingers first close. An arm may start with its fingers half closed.
    Where observations come late (`suite=latency`), it holds the way that the gripper went meanwhile too.

    Args:
        scenes: before each action, and one more or not.
        ways: (T, 3), from where the gripper is, before each action (m). Its axes are those of the scene.
    """
    opening = np.array([scene.opening for scene in scenes[: len(ways)]])
    closed = opening < CLOSED * opening.max()
    closings = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    steps = closings[0] if len(closings) else len(ways)
    gaps = [np.add(s.gripper, way) - s.cube for s, way in zip(scenes[:steps], ways[:steps], strict=True)]
    return float(np.median(np.linalg.norm(np.array(gaps)[:, :2], axis=1)))
