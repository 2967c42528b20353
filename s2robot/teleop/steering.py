"""From what a person asks for to an action in the environment's own action space."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import gymnasium
import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import Observation, RobotSpec
from s2robot.teleop.device import Command

_STEP = 0.05  # m: the largest motion of joint steering in one control step
_PLANE_STEP = 0.05  # of the range: likewise in a plane, by keys


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

    In action space `joint` an environment that has `kinematics()` can be steered by motions too.

    Raises UserError where its actions are neither displacements, joint angles nor a position in a plane, and
    gripper commands.
    """
    spec: RobotSpec = env.unwrapped.robot_spec  # pyright: ignore[reportAttributeAccessIssue]
    moved = _moved_entries(spec)
    if spec.action_space == "ee_delta" and len(moved) == 3:
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        return DisplacementSteering(env.action_space.high[moved], spec)
    if spec.action_space == "joint":
        arm = env.unwrapped
        kinematics = arm.kinematics() if isinstance(arm, HasKinematics) else None
        return JointSteering(kinematics, spec)
    if takes_pointer(spec):
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        return PlaneSteering(env.action_space.low[moved], env.action_space.high[moved], spec)
    raise UserError(
        f"a person cannot steer {type(env.unwrapped).__name__} with action space {spec.action_space} "
        f"({', '.join(spec.action)}): expected ee_delta (dx, dy, dz, gripper), joint, or position (x, y)"
    )


def takes_pointer(spec: RobotSpec) -> bool:
    """Whether a robot is steered in a plane: its actions are two coordinates; proprioception begins so."""
    return spec.action_space == "position" and len(_moved_entries(spec)) == 2 and spec.proprio_dim >= 2


class PlaneSteering:
    """`position` in two dimensions: where the mouse points; by keys, on from where it was asked to be last.

    The first camera shows the whole range of the action, x to the right and y down.

    Args:
        low, high: (2,) of the action.
        spec: of the robot; its place are the first entries of the proprioception.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, spec: RobotSpec) -> None:
        self._low, self._high, self._spec = low, high, spec
        self.step = np.append(_PLANE_STEP * (high - low), 0.0)
        self.reset()

    def reset(self) -> None:
        self._held: np.ndarray | None = None

    def action(self, observation: Observation, command: Command, closed: bool) -> np.ndarray:
        place = observation["proprio"][:2] if self._held is None else self._held
        if command.pointer is not None:
            place = self._low + command.pointer * (self._high - self._low)
        else:  # as the camera that faces a robot sees it: its y is to the right, its x towards the viewer
            place = place + command.motion[[1, 0]] * self.step[:2]
        self._held = np.clip(place, self._low, self._high)
        return _with_grippers(self._held, closed, self._spec)


class DisplacementSteering:
    """`ee_delta`: the motion is the action."""

    def __init__(self, step: np.ndarray, spec: RobotSpec) -> None:
        self.step, self._spec = step, spec

    def reset(self) -> None:
        """Nothing is remembered."""

    def action(self, observation: Observation, command: Command, closed: bool) -> np.ndarray:
        return _with_grippers(command.motion * self.step, closed, self._spec)


class Kinematics(Protocol):
    def solve(self, joints: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Joint angles near `joints` (rad) whose gripper is at `position` (m, base frame)."""
        ...


@runtime_checkable
class HasKinematics(Protocol):
    """An environment that knows the kinematics of its arm."""

    def kinematics(self) -> Kinematics: ...


class JointSteering:
    """`joint`: a leader's angles as they are, else those that bring the gripper on by the motion.

    Without either the angles hold where the arm stopped. (Aiming anew at where the arm is would let it sink
    by its own lag, step by step.)

    Args:
        kinematics: None where they are not known: then a motion raises UserError.
        spec: of the robot; its joints are the first entries of the proprioception.
        step: of the largest motion (m).
    """

    def __init__(self, kinematics: Kinematics | None, spec: RobotSpec, step: float = _STEP) -> None:
        self._kinematics, self._spec, self._count = kinematics, spec, len(_moved_entries(spec))
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
        return _with_grippers(target, closed, self._spec)

    def _solve(self, observation: Observation, motion: np.ndarray) -> np.ndarray:
        if self._kinematics is None or not self._spec.gripper_position:
            raise UserError(
                "this arm's kinematics are not known here: steer it joint to joint, with teleop=leader"
            )
        proprio, place = observation["proprio"], list(self._spec.gripper_position)
        joints, gripper = proprio[: self._count], proprio[place]
        return self._kinematics.solve(joints, gripper + motion * self.step)


def _moved_entries(spec: RobotSpec) -> list[int]:
    """The action entries that move the arm: all but those of grippers."""
    grippers = {gripper.index for gripper in spec.grippers}
    return [i for i in range(spec.action_dim) if i not in grippers]


def _with_grippers(motion: np.ndarray, closed: bool, spec: RobotSpec) -> np.ndarray:
    """The action (Da,) float32 of what moves the arm, and of grippers that are all open or all closed."""
    action = np.zeros(spec.action_dim, np.float32)
    action[_moved_entries(spec)] = motion
    for gripper in spec.grippers:
        action[gripper.index] = gripper.closed if closed else gripper.open
    return action
