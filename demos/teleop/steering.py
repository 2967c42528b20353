"""From what a person asks for to an action in the environment's own action space."""

from __future__ import annotations

from typing import Protocol

import gymnasium
import numpy as np

from s2robot.errors import UserError
from s2robot.spec import Observation, RobotSpec

OPEN, CLOSE = -1.0, 1.0


class Steering(Protocol):
    """Commands as actions: what is recorded is what a policy must output."""

    def reset(self) -> None:
        """Somebody else has moved the arm."""
        ...

    def action(self, observation: Observation, motion: np.ndarray, closed: bool) -> np.ndarray:
        """The action (Da,) for a motion (3,) of the gripper from -1 to 1 and its command."""
        ...


def make_steering(env: gymnasium.Env) -> Steering:
    """The steering of an environment.

    Raises UserError where its actions are neither displacements and a gripper command nor the joint angles of
    an arm whose kinematics are known.
    """
    spec: RobotSpec = env.unwrapped.robot_spec  # pyright: ignore[reportAttributeAccessIssue]
    if spec.action_space == "ee_delta" and spec.action_dim == 4:
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        return DisplacementSteering(env.action_space.high[:3])
    if spec.action_space == "joint":
        from envs.cube_pick import EE_STEP, CubePick
        from envs.kinematics import ArmKinematics

        if isinstance(env.unwrapped, CubePick):
            return JointSteering(ArmKinematics(env.unwrapped), EE_STEP)
    raise UserError(
        f"a person cannot steer {type(env.unwrapped).__name__} with action space {spec.action_space} "
        f"({', '.join(spec.action)}): expected ee_delta (dx, dy, dz, gripper), or joint of cube_pick"
    )


class DisplacementSteering:
    """`ee_delta`: the motion is the action."""

    def __init__(self, step: np.ndarray) -> None:
        self._step = step

    def reset(self) -> None:
        """Nothing is remembered."""

    def action(self, observation: Observation, motion: np.ndarray, closed: bool) -> np.ndarray:
        return np.append(motion * self._step, CLOSE if closed else OPEN).astype(np.float32)


class Kinematics(Protocol):
    def solve(self, joints: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Joint angles near `joints` (rad) whose gripper is at `position` (m, base frame)."""
        ...


class JointSteering:
    """`joint`: the angles that bring the gripper on by the motion; without motion they hold where it stopped.

    (Aiming anew at where the arm is would let it sink by its own lag, step by step.)
    """

    def __init__(self, kinematics: Kinematics, step: float) -> None:
        self._kinematics, self._step = kinematics, step
        self.reset()

    def reset(self) -> None:
        self._held: np.ndarray | None = None

    def action(self, observation: Observation, motion: np.ndarray, closed: bool) -> np.ndarray:
        joints, gripper = observation["proprio"][:7], observation["proprio"][8:11]
        if np.any(motion):
            target = self._kinematics.solve(joints, gripper + motion * self._step)
            self._held = None
        else:
            target = self._held = joints if self._held is None else self._held
        return np.append(target, CLOSE if closed else OPEN).astype(np.float32)
