"""A rollout as an episode of a demo store: a subscriber that collects observations and actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2robot.core.rollout import Subscriber
from s2robot.core.spec import Observation
from s2robot.data.episode import Episode


class Recorder(Subscriber):
    """Collects one rollout as an `Episode`."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self._observations = [observation]
        self._times = [info["time"]]
        self._actions: list[np.ndarray] = []
        self._applied: list[np.ndarray] = []
        self._next_time = info["time"]

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        if self._actions:
            self._observations.append(observation)
            self._times.append(self._next_time)
        self._actions.append(action)
        self._applied.append(info.get("action_applied", action))
        self._next_time = info["time"]

    @property
    def steps(self) -> int:
        """How many steps were taken so far."""
        return len(self._actions)

    def images(self, step: int) -> dict[str, np.ndarray]:
        """What the cameras showed before a step, {camera: uint8 (H, W, 3)}."""
        return self._observations[step]["images"]

    def episode(self, attributes: dict[str, Any]) -> Episode:
        """Everything from the first observation to the last action."""
        cameras = self._observations[0]["images"]
        return Episode(
            images={name: np.stack([o["images"][name] for o in self._observations]) for name in cameras},
            proprio=np.stack([o["proprio"] for o in self._observations]).astype(np.float32),
            action=np.stack(self._actions).astype(np.float32),
            action_applied=np.stack(self._applied).astype(np.float32),
            time=np.array(self._times, np.float64),
            attributes=attributes,
        )
