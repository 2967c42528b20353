"""What is noted at each step of a rollout, for the task to say why it failed and how well it did."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from s2robot.core.rollout import Actor, Subscriber
from s2robot.core.spec import Observation
from s2robot.core.task import Failure, Task


class SceneTrace(Subscriber):
    """`env.unwrapped.scene()` before the first action and after each one; empty for an environment without.

    A real arm, for one, does not know its scene: its failures have no label.
    """

    def __init__(self, env: gymnasium.Env, task: Task) -> None:
        self._scene = getattr(env.unwrapped, "scene", None)
        self._task = task
        self.scenes: list[Any] = []

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.scenes = []
        self._note()

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self._note()

    def failure(self, success: bool) -> Failure | None:
        """Why the rollout failed; None for a success and where nothing is known."""
        return None if success or not self.scenes else self._task.failure(self.scenes)

    def _note(self) -> None:
        if self._scene is not None:
            self.scenes.append(self._scene())


class GraspTrace(Subscriber):
    """Where a policy predicts the grasp at every step: `offsets`, (3,) each (m), from the gripper.

    Empty for another actor, and for a policy that predicts none.
    """

    def __init__(self, actor: Actor) -> None:
        # By its method, not by its class: importing that imports torch.
        self._grasp_offset = getattr(getattr(actor, "policy", None), "grasp_offset", None)
        self.offsets: list[np.ndarray] = []

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.offsets = []

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        if self._grasp_offset is not None and (offset := self._grasp_offset()) is not None:
            self.offsets.append(offset)
