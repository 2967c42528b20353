"""What all drivers of a Franka share, whichever library speaks its interface (FCI)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode
from s2robot.robot.arms.franka_hand import Hand
from s2robot.robot.arms.models import panda_kinematics, panda_limits
from s2robot.robot.clock import Clock
from s2robot.robot.kinematics import Kinematics

_NEAR = 0.4  # rad: how far ahead homing aims, well below what a loop refuses
_ARRIVED, _STILL = 0.02, 0.001  # rad, and rad between two looks
_LOOK = 0.05  # s
_HOMING = 30.0  # s


@dataclass(frozen=True, eq=False)
class Measured:
    """What the arm says of itself.

    Attributes:
        joints: (7,) rad.
        stamp: the arm's own time; it stands still where the connection does.
        fault: its reflex in its own words; None where there is none.
    """

    joints: np.ndarray
    stamp: float
    fault: str | None


class FciArm(ABC):
    """FR3 or Panda, with or without the Franka Hand.

    Args:
        hand: whether the Franka Hand is there. force: N of its grasp.
        tool, turn: of the gripper's frame, as `panda_kinematics` has them.
    """

    limits: ArmLimits = panda_limits()

    def __init__(self, hand: bool, force: float, tool: float, turn: float) -> None:
        self.kinematics: Kinematics = panda_kinematics(tool, turn)
        self._clock = Clock()
        self._hand = Hand(self.limits.opening, force) if hand else None
        self._opening = self.limits.opening  # asked for
        self._mode = Mode.CLOSED
        self._stamp, self._seen = -1.0, 0.0  # the arm's own time, and ours when it last changed

    @abstractmethod
    def _measure(self) -> Measured:
        """The newest measurement. Raises ArmError."""

    @abstractmethod
    def _aim(self, joints: np.ndarray) -> None:
        """Goes for joints (7,) rad, at once, within the arm's own limits. Raises ArmError."""

    def observe(self) -> ArmState:
        measured = self._measure()
        if measured.stamp != self._stamp:
            self._stamp, self._seen = measured.stamp, self._clock.now()
        opening = self._opening if self._hand is None else self._hand.width
        return ArmState(measured.joints, float(opening), self._seen, measured.fault)

    def command(self, command: ArmCommand) -> ArmCommand:
        if self._mode is Mode.READY:
            self._go(command.joints)
            self._grip(command.gripper)
        return command

    def home(self, joints: np.ndarray, opening: float) -> None:
        self._grip(opening)
        deadline, before = self._clock.now() + _HOMING, np.full(len(joints), np.inf)
        while True:
            measured = self._measure()
            if measured.fault:
                raise ArmError(measured.fault)
            left = np.abs(joints - measured.joints).max()
            if left < _ARRIVED and np.abs(measured.joints - before).max() < _STILL:
                return
            before = measured.joints
            if self._mode is not Mode.READY:
                raise ArmError("stopped on its way home")
            if self._clock.now() > deadline:
                raise ArmError(f"not home within {_HOMING:g} s: {left:.3f} rad are left")
            self._go(measured.joints + np.clip(joints - measured.joints, -_NEAR, _NEAR))
            self._clock.sleep(_LOOK)

    def state(self) -> Mode:
        return self._mode

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def estop(self) -> None: ...

    def _go(self, joints: np.ndarray) -> None:
        self._aim(joints)
        if self._mode is not Mode.READY:  # a stop in another thread, which this target may have overtaken
            self.estop() if self._mode is Mode.ESTOP else self.stop()

    def _grip(self, opening: float) -> None:
        self._opening = opening
        if self._hand:
            self._hand.ask(opening)

    def _find_hand(self, gripper: Callable[[], object]) -> None:
        """Connects the hand, where there is one. Raises what the library raises."""
        if self._hand:
            self._hand.connect(gripper())

    def _release_hand(self) -> None:
        if self._hand:
            self._hand.close()
