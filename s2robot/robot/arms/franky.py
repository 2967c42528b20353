"""Franka's FR3 and Panda over FCI, through franky, which builds on the maker's own libfranka."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.arm import ArmError, Mode, refuse_latched
from s2robot.robot.arms.fci import FciArm, Measured

Result = TypeVar("Result")
_STOPPING = 2.0  # s


class FrankyArm(FciArm):
    """A driver: each target replaces the motion under way, which its 1 kHz loop in C++ goes over to smoothly.

    Args:
        host: address of the control box; libfranka knows no other port than its own.
        realtime: `enforce` (a PREEMPT_RT kernel is needed) or `ignore`.
        fraction: of the arm's velocity, acceleration and jerk limits that motions keep to.
        hand, force, tool, turn: as of `FciArm`.

    Raises UserError where franky-control is missing.
    """

    def __init__(
        self,
        host: str,
        realtime: str = "enforce",
        fraction: float = 0.3,
        hand: bool = True,
        force: float = 20.0,
        tool: float = 0.2035,
        turn: float = -3 * np.pi / 4,
    ) -> None:
        if find_spec("franky") is None:
            raise UserError('franky-control missing: pip install "s2robot[franky]"')
        super().__init__(hand, force, tool, turn)
        self._host, self._realtime, self._fraction = host, realtime, fraction
        self._robot: Any = None
        self._lost: str | None = None

    def connect(self) -> None:
        franky = _library()
        realtime = (
            franky.RealtimeConfig.Enforce if self._realtime == "enforce" else franky.RealtimeConfig.Ignore
        )
        try:
            self._robot = franky.Robot(
                self._host, relative_dynamics_factor=self._fraction, realtime_config=realtime
            )
            self._find_hand(lambda: franky.Gripper(self._host))
        except _errors() as error:
            self._robot = None
            raise UserError(f"no Franka at {self._host}: {error}") from error
        self._mode, self._lost = Mode.STOPPED, None

    def close(self) -> None:
        self._mode = Mode.CLOSED
        if self._robot is not None:
            with suppress(ArmError):  # it is lost or in a reflex: it stands still by itself
                self._end_motion()
        self._release_hand()
        self._robot = None

    def stop(self) -> None:
        if self._mode is Mode.READY:
            self._mode = Mode.STOPPED
        self._brake()

    def resume(self) -> None:
        refuse_latched(self._mode)
        if fault := self._measure().fault:
            raise ArmError(f"{fault}: only recover() clears that")
        refuse_latched(self._mode)  # an emergency stop came meanwhile?
        self._mode = Mode.READY

    def estop(self) -> None:
        self._mode = Mode.ESTOP
        if self._robot is not None:
            self._call(self._robot.stop)

    def recover(self) -> None:
        with suppress(ArmError):  # why it ended is known: that is what is cleared now
            self._end_motion()
        if not self._call(self._robot.recover_from_errors):
            raise ArmError("the arm does not recover from its errors")
        self._mode, self._lost = Mode.STOPPED, None

    def _measure(self) -> Measured:
        self._follow()
        state = self._call(lambda: self._robot.state)
        return Measured(np.array(state.q), state.time.to_sec(), self._fault(state))

    def _aim(self, joints: np.ndarray) -> None:
        franky = _library()
        motion = franky.JointMotion(joints, return_when_finished=False)
        self._call(lambda: self._robot.move(motion, asynchronous=True))

    def _follow(self) -> None:
        """A motion that has ended by an error is a fault, unless it was to end."""
        try:
            self._call(self._robot.poll_motion)
        except ArmError as error:
            if self._mode in (Mode.READY, Mode.STOPPED):
                self._mode, self._lost = Mode.FAULT, str(error)

    def _fault(self, state: Any) -> str | None:
        """The arm's reflex in its own words."""
        franky = _library()
        if state.robot_mode in (franky.RobotMode.Reflex, franky.RobotMode.UserStopped):
            reasons = (_names(state.current_errors), _names(state.last_motion_errors), state.robot_mode.name)
            return next(filter(None, reasons))
        return _names(state.current_errors) or (self._lost if self._mode is Mode.FAULT else None)

    def _brake(self) -> None:
        """To a stand within the arm's own limits; the motion then ends."""
        if self._robot is not None and self._robot.is_in_control:
            self._call(lambda: self._robot.move(_library().JointStopMotion(), asynchronous=True))

    def _end_motion(self) -> None:
        self._brake()
        self._call(lambda: self._robot.join_motion(_STOPPING))

    def _call(self, action: Callable[[], Result]) -> Result:
        """What a call of franky returns. Raises ArmError for its errors."""
        try:
            return action()
        except _errors() as error:
            raise ArmError(" ".join(str(error).split())) from error


def _library() -> Any:
    import franky  # pyright: ignore[reportMissingImports]

    return franky


def _errors() -> tuple[type[Exception], ...]:
    """All that franky raises; they have no ancestor of their own in common."""
    franky = _library()
    named = (getattr(franky, name) for name in dir(franky) if name.endswith("Exception"))
    return tuple(kind for kind in named if isinstance(kind, type) and issubclass(kind, Exception))


def _names(errors: Any) -> str:
    """`joint_velocity_violation, ...`; empty where there is none."""
    return ", ".join(n for n in dir(errors) if not n.startswith("_") and getattr(errors, n) is True)
