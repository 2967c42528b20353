"""An arm without physics whose faults a test can choose, and a clock that the test turns."""

from __future__ import annotations

import threading

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode, refuse_latched
from s2robot.robot.arms.models import PANDA_HOME, panda_kinematics, panda_limits
from s2robot.robot.clock import Clock
from s2robot.robot.kinematics import Kinematics


class TurnedClock(Clock):
    """Stands still until somebody sleeps on it or turns it."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


class FakeArm:
    """Is at once where it is told to be.

    Attributes:
        sent: every command that came through. fault: its reflex. lost: whether its wire is cut.
        frozen: since when its measurements are the same, None where they are not.
        hangs: calls of `command` wait until this is set. follows: whether its joints move.
    """

    limits: ArmLimits = panda_limits()
    kinematics: Kinematics = panda_kinematics()

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.joints, self.gripper = PANDA_HOME.copy(), 0.08
        self.sent: list[ArmCommand] = []
        self.stops = 0
        self.mode = Mode.CLOSED
        self.fault: str | None = None
        self.frozen: float | None = None
        self.hangs: threading.Event | None = None
        self.lost, self.follows = False, True
        self.absent: str | None = None  # why nobody answers

    def connect(self) -> None:
        if self.absent is not None:
            raise UserError(self.absent)
        self.mode = Mode.READY

    def close(self) -> None:
        self.mode = Mode.CLOSED

    def observe(self) -> ArmState:
        self._wire()
        time = self.clock.now() if self.frozen is None else self.frozen
        return ArmState(self.joints.copy(), self.gripper, time, self.fault)

    def command(self, command: ArmCommand) -> ArmCommand:
        self._wire()
        if self.hangs is not None:
            self.hangs.wait(10)
        if self.mode is Mode.READY:
            self.sent.append(command)
            if self.follows:
                self.joints, self.gripper = command.joints.copy(), command.gripper
        return command

    def home(self, joints: np.ndarray, opening: float) -> None:
        self._wire()
        if self.mode is Mode.READY:
            self.joints, self.gripper = np.array(joints, float), opening

    def stop(self) -> None:
        self.stops += 1
        self.mode = Mode.STOPPED

    def resume(self) -> None:
        refuse_latched(self.mode)
        self.mode = Mode.READY

    def estop(self) -> None:
        self.mode = Mode.ESTOP

    def recover(self) -> None:
        self._wire()
        self.fault, self.mode = None, Mode.STOPPED

    def state(self) -> Mode:
        return self.mode

    def _wire(self) -> None:
        if self.lost:
            raise ArmError("connection reset")
