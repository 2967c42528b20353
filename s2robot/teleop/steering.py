"""From what a person asks for to an action in the environment's own action space."""

from __future__ import annotations

from typing import Protocol

import gymnasium
import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import Observation, RobotSpec
from s2robot.teleop.device import Command

OPEN, CLOSE = -1.0, 1.0


class Steering(Protocol):
    """Commands as actions: what is recorded is what a policy must output.

    `step` (3,) is how far along x, y and z the largest motion brings the gripper in one control step (m).
    """

    step: np.ndarray

    def reset(self) -> None:
        """Somebody else has moved the arm."""
        ...

    def action(self, observation: Observation, command: Command, closed: bool) -> np.ndarray:
        """The action (Da,) for what a device asks for and the gripper's command."""
        ...


def make_steering(env: gymnasium.Env) -> Steering:
    """The steering of an environment.

    Raises UserError where its actions are neither displacements nor joint angles, and a gripper command.
    """
    spec: RobotSpec = env.unwrapped.robot_spec  # pyright: ignore[reportAttributeAccessIssue]
    if spec.action_space == "ee_delta" and spec.action_dim == 4:
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        return DisplacementSteering(env.action_space.high[:3])
    if spec.action_space == "joint":
        from envs.cube_pick.env import EE_STEP, CubePick
        from envs.cube_pick.kinematics import ArmKinematics

        arm = env.unwrapped
        kinematics = ArmKinematics(arm) if isinstance(arm, CubePick) else None
        return JointSteering(kinematics, EE_STEP, spec.action_dim - 1)
    raise UserError(
        f"a person cannot steer {type(env.unwrapped).__name__} with action space {spec.action_space} "
        f"({', '.join(spec.action)}): expected ee_delta (dx, dy, dz, gripper), or joint"
    )


class DisplacementSteering:
    """`ee_delta`: the motion is the action."""

    def __init__(self, step: np.ndarray) -> None:
        self.step = step

    def reset(self) -> None:
        """Nothing is remembered."""

    def action(self, observation: Observation, command: Command, closed: bool) -> np.ndarray:
        return np.append(command.motion * self.step, CLOSE if closed else OPEN).astype(np.float32)


class Kinematics(Protocol):
    def solve(self, joints: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Joint angles near `joints` (rad) whose gripper is at `position` (m, base frame)."""
        ...


class JointSteering:
    """`joint`: a leader's angles as they are, else those that bring the gripper on by the motion.

    Without either the angles hold where the arm stopped. (Aiming anew at where the arm is would let it sink
    by its own lag, step by step.)

    Args:
        kinematics: None where they are not known: then a motion raises UserError.
        step: of the largest motion (m).
        count: joints, the first entries of the proprioception.
    """

    def __init__(self, kinematics: Kinematics | None, step: float, count: int = 7) -> None:
        self._kinematics, self._count = kinematics, count
        self.step = np.full(3, step)
        self.reset()

    def reset(self) -> None:
        self._held: np.ndarray | None = None

    def action(self, observation: Observation, command: Command, closed: bool) -> np.ndarray:
        joints = observation["proprio"][: self._count]
        target = command.joints
        if target is None and np.any(command.motion):
            target = self._solve(observation, command.motion)
        if target is None:
            target = self._held = joints if self._held is None else self._held
        else:
            self._held = None
        return np.append(target, CLOSE if closed else OPEN).astype(np.float32)

    def _solve(self, observation: Observation, motion: np.ndarray) -> np.ndarray:
        if self._kinematics is None:
            raise UserError(
                "this arm's kinematics are not known here: steer it joint to joint, with device=leader"
            )
        joints, gripper = observation["proprio"][:7], observation["proprio"][8:11]
        return self._kinematics.solve(joints, gripper + motion * self.step)
