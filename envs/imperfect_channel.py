"""What lies between a robot and who acts: frames late or lost, actions carried out inexactly."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation, RobotSpec

NOISE = {"ee_delta": 0.006, "joint": 0.012}
"""Standard deviation of the action noise of scale 1 (m, rad): the joint angle moves the gripper as far."""


class ImperfectChannel(gymnasium.Wrapper):
    """An environment behind an imperfect channel; seeded with its episode.

    Args:
        latency: steps by which frames are late. Proprioception is not: cameras are what is slow.
        dropped: probability that a camera's frame does not arrive; the last one that did is repeated.
        action_noise: scale of the noise on what is carried out, 1 as in the demos; never on a gripper.

    Raises:
        UserError: a value out of range, or noise on actions whose unit is not known.
    """

    def __init__(
        self, env: gymnasium.Env, latency: int = 0, dropped: float = 0.0, action_noise: float = 0.0
    ) -> None:
        super().__init__(env)
        if latency < 0 or not 0 <= dropped < 1 or not action_noise >= 0:
            raise UserError(
                f"latency={latency} dropped={dropped} action_noise={action_noise}: expected 0 steps or more, "
                "a share from 0 to below 1, and a scale of 0 or more"
            )
        self._dropped = dropped
        self._waiting: deque[dict[str, np.ndarray]] = deque(maxlen=latency + 1)
        self._frames: dict[str, np.ndarray] = {}
        spec: RobotSpec = env.unwrapped.robot_spec  # pyright: ignore[reportAttributeAccessIssue]
        self._std = action_deviation(spec, action_noise) if action_noise else None
        self._rng = np.random.default_rng()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._rng = np.random.default_rng(None if seed is None else [seed, 8])
        self._waiting.clear()
        self._frames = dict(observation["images"])  # an episode begins when every camera has delivered
        return self._delivered(observation), info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._std is not None:
            noise = self._rng.normal(0.0, 1.0, len(self._std)) * self._std
            action = (np.asarray(action) + noise).astype(np.float32)
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._delivered(observation), float(reward), terminated, truncated, info

    def _delivered(self, observation: Observation) -> Observation:
        self._waiting.append(observation["images"])
        late = self._waiting[0]
        for camera in late:
            if not self._dropped or self._rng.random() >= self._dropped:
                self._frames[camera] = late[camera]
        return {**observation, "images": dict(self._frames)}


def action_deviation(spec: RobotSpec, scale: float) -> np.ndarray:
    """Standard deviation (Da,) of the action noise of a scale: zero for grippers.

    Raises UserError for an action space whose unit is not known.
    """
    if spec.action_space not in NOISE:
        raise unknown("action space for action_noise", spec.action_space, NOISE)
    deviation = np.full(spec.action_dim, NOISE[spec.action_space] * scale)
    deviation[[gripper.index for gripper in spec.grippers]] = 0.0
    return deviation
