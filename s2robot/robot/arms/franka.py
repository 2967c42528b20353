"""Franka's FR3 and Panda over FCI, through franka-rs: its 1 kHz loop runs in Rust and follows our targets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.arm import ArmError, Mode
from s2robot.robot.arms.fci import FciArm, Measured

Result = TypeVar("Result")
_ANYWHERE = 2 * np.pi  # rad from where the loop began: where the arm may go is the safety layer's to say
_FAULTS = ("reflex", "user_stopped")


class FrankaArm(FciArm):
    """A driver.

    Args:
        host: address of the control box, `host` or `host:port`.
        realtime: `enforce` (a PREEMPT_RT kernel is needed) or `ignore`.
        fraction: of the arm's velocity, acceleration and jerk limits that its loop keeps to.
        hand, force, tool, turn: as of `FciArm`.

    Raises UserError where franka-rs is missing.
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
        if find_spec("franka") is None:
            raise UserError('franka-rs missing: pip install "s2robot[franka]"')
        super().__init__(hand, force, tool, turn)
        self._host, self._realtime, self._fraction = host, realtime, fraction
        self._robot: Any = None
        self._targets: Any = None
        self._changing = threading.Lock()  # around the beginning and the end of the loop

    def connect(self) -> None:
        import franka

        try:
            self._robot = franka.Robot(self._host, realtime=self._realtime)
            self._find_hand(self._robot.gripper)
        except franka.FrankaError as error:
            self._robot = None
            raise UserError(f"no Franka at {self._host}: {error}") from error
        self._mode = Mode.STOPPED

    def close(self) -> None:
        self._mode = Mode.CLOSED
        with suppress(ArmError):  # it is lost or in a reflex: it stands still by itself
            self._end_loop()
        self._release_hand()
        self._targets = self._robot = None

    def stop(self) -> None:
        if self._mode is Mode.READY:
            self._mode = Mode.STOPPED
        targets = self._targets
        if targets is not None and targets.running:  # it brakes within its own limits, and holds
            self._call(lambda: targets.move_to(np.array(targets.state().q).tolist()))

    def resume(self) -> None:
        with self._changing:
            fault = "emergency stop" if self._mode is Mode.ESTOP else self._fault(self._read())
            if fault:
                raise ArmError(f"{fault}: only recover() clears that")
            if self._targets is None:
                loop = self._call(
                    lambda: self._robot.joint_targets(fraction=self._fraction, max_deviation=_ANYWHERE)
                )
                self._targets = self._call(loop.__enter__)
            self._mode = Mode.READY

    def estop(self) -> None:
        self._mode = Mode.ESTOP
        if self._robot is not None:
            self._call(self._robot.stop)

    def recover(self) -> None:
        with suppress(ArmError):  # why it ended is known: that is what is cleared now
            self._end_loop()
        self._call(self._robot.automatic_error_recovery)
        self._mode = Mode.STOPPED

    def _measure(self) -> Measured:
        state = self._read()
        return Measured(np.array(state.q, float), state.time, self._fault(state))

    def _read(self) -> Any:
        """The newest state as franka-rs has it. A loop that has ended by itself is a fault."""
        targets = self._targets
        if targets is not None and targets.running:
            return self._call(targets.state)
        if targets is not None and self._mode in (Mode.READY, Mode.STOPPED):
            self._mode = Mode.FAULT
        return self._call(self._robot.read_once)

    def _aim(self, joints: np.ndarray) -> None:
        self._call(lambda: self._targets.move_to(joints.tolist()))

    def _fault(self, state: Any) -> str | None:
        """The arm's reflex in its own words."""
        errors = ", ".join(state.current_errors)
        if state.robot_mode in _FAULTS or errors:
            return errors or ", ".join(state.last_motion_errors) or state.robot_mode
        if self._mode is Mode.FAULT:
            return ", ".join(state.last_motion_errors) or "its motion has ended"
        return None

    def _end_loop(self) -> None:
        with self._changing:
            targets, self._targets = self._targets, None
            if targets is not None:
                self._call(targets.stop)

    def _call(self, action: Callable[[], Result]) -> Result:
        """What a call of franka-rs returns. Raises ArmError for its errors."""
        import franka

        try:
            return action()
        except (franka.FrankaError, franka.ControlException, ValueError) as error:
            raise ArmError(str(error)) from error
