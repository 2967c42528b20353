"""Franka's FR3 and Panda over FCI, through franka-rs: its 1 kHz loop runs in Rust and follows our targets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from s2robot.errors import UserError
from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode
from s2robot.robot.clock import Clock
from s2robot.robot.franka_hand import Hand
from s2robot.robot.kinematics import Kinematics
from s2robot.robot.models import panda_kinematics, panda_limits

Result = TypeVar("Result")
_NEAR = 0.4  # rad: how far ahead homing aims, well below what the loop refuses
_ARRIVED, _STILL = 0.02, 0.02  # rad, rad/s
_HOMING = 30.0  # s
_ANYWHERE = 2 * np.pi  # rad from where the loop began: where the arm may go is the safety layer's to say
_FAULTS = ("reflex", "user_stopped")


class FrankaArm:
    """A driver.

    Args:
        host: address of the control box, `host` or `host:port`.
        realtime: `enforce` (a PREEMPT_RT kernel is needed) or `ignore`.
        fraction: of the arm's velocity, acceleration and jerk limits that its loop keeps to.
        hand: whether the Franka Hand is there.
        force: N of its grasp.
        tool, turn: of the gripper's frame, as `panda_kinematics` has them.

    Raises UserError where franka-rs is missing.
    """

    limits: ArmLimits = panda_limits()

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
        self.kinematics: Kinematics = panda_kinematics(tool, turn)
        self._host, self._realtime, self._fraction = host, realtime, fraction
        self._clock = Clock()
        self._robot: Any = None
        self._targets: Any = None
        self._hand = Hand(self.limits.opening, force) if hand else None
        self._opening = self.limits.opening  # asked for
        self._changing = threading.Lock()  # around the beginning and the end of the loop
        self._mode = Mode.CLOSED
        self._stamp, self._seen = -1.0, 0.0  # the arm's own time, and ours when it last changed

    def connect(self) -> None:
        import franka

        try:
            self._robot = franka.Robot(self._host, realtime=self._realtime)
            if self._hand:
                self._hand.connect(self._robot)
        except franka.FrankaError as error:
            raise UserError(f"no Franka at {self._host}: {error}") from error
        self._mode = Mode.STOPPED

    def close(self) -> None:
        self._mode = Mode.CLOSED
        with suppress(ArmError):  # it is lost or in a reflex: it stands still by itself
            self._end_loop()
        if self._hand:
            self._hand.close()
        self._targets = self._robot = None

    def observe(self) -> ArmState:
        state = self._read()
        if state.time != self._stamp:
            self._stamp, self._seen = state.time, self._clock.now()
        opening = self._opening if self._hand is None else self._hand.width
        return ArmState(np.array(state.q, float), float(opening), self._seen, self._fault(state))

    def command(self, command: ArmCommand) -> ArmCommand:
        if self._mode is Mode.READY:
            self._aim(command.joints)
            self._opening = command.gripper
            if self._hand:
                self._hand.ask(command.gripper)
        return command

    def home(self, joints: np.ndarray, opening: float) -> None:
        self._opening = opening
        if self._hand:
            self._hand.ask(opening)
        deadline = self._clock.now() + _HOMING
        while True:
            state = self._read()
            at, speed = np.array(state.q, float), np.abs(state.dq).max()
            if fault := self._fault(state):
                raise ArmError(fault)
            if np.abs(joints - at).max() < _ARRIVED and speed < _STILL:
                return
            if self._mode is not Mode.READY:
                raise ArmError("stopped on its way home")
            if self._clock.now() > deadline:
                raise ArmError(f"not home within {_HOMING:g} s: {np.abs(joints - at).max():.3f} rad are left")
            self._aim(at + np.clip(joints - at, -_NEAR, _NEAR))
            self._clock.sleep(0.05)

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

    def state(self) -> Mode:
        return self._mode

    def _read(self) -> Any:
        """The newest state as franka-rs has it. A loop that has ended without being told to is a fault."""
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
