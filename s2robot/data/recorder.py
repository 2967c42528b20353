"""A rollout as an episode of a demo store: a subscriber that collects observations and actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2robot.core.rollout import Subscriber
from s2robot.core.spec import Observation
from s2robot.data.episode import Episode
from s2robot.data.streams import FrameSpool


class Recorder(Subscriber):
    """Collects one rollout as an `Episode`; of a long one most frames lie in a temporary file."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self._frames = {name: FrameSpool() for name in observation["images"]}
        self._proprio: list[np.ndarray] = []
        self._times: list[float] = []
        self._actions: list[np.ndarray] = []
        self._applied: list[np.ndarray] = []
        self._observe(observation, info)

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        if self._actions:
            self._observe(observation, {"time": self._next_time})
        self._actions.append(action)
        self._applied.append(info.get("action_applied", action))
        self._next_time = info["time"]

    @property
    def steps(self) -> int:
        """How many steps were taken so far."""
        return len(self._actions)

    def images(self, step: int) -> dict[str, np.ndarray]:
        """What the cameras showed before a step, {camera: uint8 (H, W, 3)}."""
        return {name: frames[step] for name, frames in self._frames.items()}

    def episode(self, attributes: dict[str, Any]) -> Episode:
        """Everything from the first observation to the last action."""
        return Episode(
            images={name: frames.frames() for name, frames in self._frames.items()},
            proprio=np.stack(self._proprio).astype(np.float32),
            action=np.stack(self._actions).astype(np.float32),
            action_applied=np.stack(self._applied).astype(np.float32),
            time=np.array(self._times, np.float64),
            attributes=attributes,
        )

    def _observe(self, observation: Observation, info: dict[str, Any]) -> None:
        for name, frame in observation["images"].items():
            self._frames[name].append(frame)
        self._proprio.append(observation["proprio"])
        self._times.append(info["time"])
