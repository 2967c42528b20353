"""What every arm is: joints that are sent and asked for their angles, and a gripper. Units: rad, m, s."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from s2robot.robot.kinematics import Kinematics


class Mode(StrEnum):
    """What an arm would do with a command."""

    CLOSED = "closed"  # not connected
    READY = "ready"
    STOPPED = "stopped"  # until it is started again
    FAULT = "fault"  # a reflex or an error of the arm's own, until `recover`
    ESTOP = "estop"  # until `recover`


@dataclass(frozen=True, eq=False)
class ArmState:
    """What an arm has measured.

    Attributes:
        joints: (n,) rad.
        gripper: opening in m.
        time: when it was measured, on the clock of the session (s).
        fault: the arm's own words for its reflex or error; None where there is none.
    """

    joints: np.ndarray
    gripper: float
    time: float
    fault: str | None = None


@dataclass(frozen=True, eq=False)
class ArmCommand:
    """Where an arm is to be: joints (n,) rad, gripper opening in m."""

    joints: np.ndarray
    gripper: float


@dataclass(frozen=True, eq=False)
class ArmLimits:
    """What a kind of arm can do, by its data sheet.

    Attributes:
        low, high: (n,) rad.
        velocity: (n,) rad/s.
        acceleration: (n,) rad/s².
        opening: of the gripper, in m.
    """

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    opening: float


class ArmError(Exception):
    """The arm, or the way to it, does not do what it is sent: the message is the driver's."""


def refuse_latched(mode: Mode) -> None:
    """Raises ArmError after an emergency stop or a fault: an arm does not resume then."""
    if mode in (Mode.ESTOP, Mode.FAULT):
        raise ArmError(f"{'emergency stop' if mode is Mode.ESTOP else 'fault'}: only recover() clears that")


class Arm(Protocol):
    """A driver. `stop` and `estop` may be called in any thread and while another call is under way."""

    @property
    def limits(self) -> ArmLimits: ...

    @property
    def kinematics(self) -> Kinematics: ...

    def connect(self) -> None:
        """Opens the connection, ready for commands. Raises UserError where nobody answers."""
        ...

    def close(self) -> None:
        """Stops and lets go of the arm."""
        ...

    def observe(self) -> ArmState:
        """The newest measurement. Raises ArmError where the connection is lost."""
        ...

    def command(self, command: ArmCommand) -> ArmCommand:
        """Goes for these joints and this opening, at once, and returns what was sent. Raises ArmError."""
        ...

    def home(self, joints: np.ndarray, opening: float) -> None:
        """Moves there at the driver's own leisurely speed; returns when it is there. Raises ArmError."""
        ...

    def stop(self) -> None:
        """Brakes, holds still and ignores commands until `resume`."""
        ...

    def resume(self) -> None:
        """Takes commands again after `stop`, from where the arm is. Raises ArmError as `refuse_latched`."""
        ...

    def estop(self) -> None:
        """As `stop`, by the quickest means the arm has in software."""
        ...

    def recover(self) -> None:
        """Clears an emergency stop or a fault. Raises ArmError where the arm refuses."""
        ...

    def state(self) -> Mode: ...
