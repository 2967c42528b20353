"""UFACTORY's xArm 6 through its maker's SDK, in servo mode: joint targets as quickly as they come."""

from __future__ import annotations

import socket
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode, refuse_latched
from s2robot.robot.arms.models import xarm6_kinematics, xarm6_limits
from s2robot.robot.clock import Clock
from s2robot.robot.kinematics import Kinematics

_STREAM = 100.0  # Hz: servo mode goes to each target at full speed, so that the way there is cut finely
_HOMING = 0.3  # rad/s
_WIDEST = 850.0  # of the gripper, in its own units
_SERVO_MODE, _GO, _STOP = 1, 0, 4  # modes and states as the controller numbers them


class XArm:
    """A driver.

    Args:
        host: address of the control box.
        rate: control steps a second (Hz): a target is reached after one period, in a straight line.
        gripper: whether UFACTORY's gripper is there.
        tool: from the flange to between the fingers (m).

    Raises UserError where the SDK is missing.
    """

    limits: ArmLimits = xarm6_limits()

    def __init__(self, host: str, rate: float = 10.0, gripper: bool = True, tool: float = 0.172) -> None:
        if find_spec("xarm") is None:
            raise UserError('xarm-python-sdk missing: pip install "s2robot[xarm]"')
        self.kinematics: Kinematics = xarm6_kinematics(tool)
        self._host, self._period, self._has_gripper = host, 1.0 / rate, gripper
        self._clock = Clock()
        self._api: Any = None
        self._mode = Mode.CLOSED
        self._opening = self.limits.opening
        self._changed = threading.Condition()
        self._way: list[np.ndarray] = []  # what is still to be sent, one each 1 / _STREAM s
        self._sent: np.ndarray | None = None
        self._problem: str | None = None

    def connect(self) -> None:
        from xarm.wrapper import XArmAPI

        timeout = socket.getdefaulttimeout()
        try:
            self._api = XArmAPI(self._host, is_radian=True, do_not_open=True, enable_report=False)
            self._api.connect()
        except Exception as error:  # the SDK raises nothing more special
            raise UserError(f"no xArm at {self._host}: {error}") from error
        finally:
            socket.setdefaulttimeout(timeout)  # the SDK sets 1 s for all sockets of the process
        if self._api.axis != len(self.limits.low):
            axes = self._api.axis
            self._api.disconnect()
            raise UserError(f"the arm at {self._host} has {axes} joints: expected an xArm 6")
        self._mode, self._problem = Mode.STOPPED, None
        self._thread = threading.Thread(target=self._stream, name="xarm stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._mode = Mode.CLOSED
            self._way.clear()
            self._changed.notify_all()
        if self._api is not None:
            self._thread.join(5)
            self._api.disconnect()

    def observe(self) -> ArmState:
        before = self._clock.now()
        joints = self._ask("joint angles", self._api.get_servo_angle(is_radian=True))
        error, warning = self._ask("its errors", self._api.get_err_warn_code())
        fault = self._problem or (f"error C{error}" if error else None)
        if warning:
            fault = fault or f"warning {warning}"
        return ArmState(np.array(joints[: len(self.limits.low)], float), self._width(), before, fault)

    def command(self, command: ArmCommand) -> ArmCommand:
        with self._changed:
            if self._mode is Mode.READY:
                assert self._sent is not None
                steps = max(1, round(self._period * _STREAM))
                start = self._sent
                self._way = [start + (command.joints - start) * (i + 1) / steps for i in range(steps)]
                self._changed.notify_all()
        self._grip(command.gripper)
        return command

    def home(self, joints: np.ndarray, opening: float) -> None:
        self._grip(opening)
        with self._changed:
            if self._mode is not Mode.READY or self._sent is None:
                raise ArmError("stopped")
            start, seconds = self._sent, max(1e-3, np.abs(joints - self._sent).max() / _HOMING)
            steps = max(1, round(seconds * _STREAM))
            self._way = [start + (joints - start) * (i + 1) / steps for i in range(steps)]
            self._changed.notify_all()
            arrived = self._changed.wait_for(lambda: not self._way, 2 * seconds + 5)
        if not arrived or self._mode is not Mode.READY or self._problem:
            raise ArmError(self._problem or "it has not come home")

    def stop(self) -> None:
        with self._changed:
            if self._mode is Mode.READY:
                self._mode = Mode.STOPPED
            self._way.clear()
            self._changed.notify_all()

    def resume(self) -> None:
        refuse_latched(self._mode)
        api = self._api
        for name, code in (
            ("enable", api.motion_enable(True)),
            ("servo mode", api.set_mode(_SERVO_MODE)),
            ("start", api.set_state(_GO)),
        ):
            self._check(name, code)
        joints = self._ask("joint angles", api.get_servo_angle(is_radian=True))
        with self._changed:
            mode = self._mode
            if mode in (Mode.STOPPED, Mode.READY):
                self._sent, self._way = np.array(joints[: len(self.limits.low)], float), []
                self._mode = Mode.READY
        if mode is Mode.ESTOP:  # it came meanwhile, and the box was started after it
            self._check("emergency stop", api.set_state(_STOP))
        refuse_latched(mode)

    def estop(self) -> None:
        with self._changed:
            self._mode = Mode.ESTOP
            self._way.clear()
            self._changed.notify_all()
        if self._api is not None:
            self._check("emergency stop", self._api.set_state(_STOP))

    def recover(self) -> None:
        self._check("clean errors", self._api.clean_error())
        self._check("clean warnings", self._api.clean_warn())
        self._mode, self._problem = Mode.STOPPED, None

    def state(self) -> Mode:
        return self._mode

    # ------------------------------------------------------------------ parts

    def _stream(self) -> None:
        """Sends what is still to be sent, evenly."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._way or self._mode is Mode.CLOSED)
                if self._mode is Mode.CLOSED:
                    return
                target = self._way[0]
                self._sent = target
            due = self._clock.now() + 1 / _STREAM
            code = self._api.set_servo_angle_j(target.tolist(), is_radian=True)
            if code != 0:
                with self._changed:
                    self._problem = f"servo_j refused with code {code}"
                    self._mode = Mode.FAULT
                    self._way.clear()
                    self._changed.notify_all()
            with self._changed:
                if self._way and self._way[0] is target:
                    self._way.pop(0)
                if not self._way:
                    self._changed.notify_all()
            self._clock.sleep(due - self._clock.now())

    def _grip(self, opening: float) -> None:
        if self._has_gripper and opening != self._opening:
            position = _WIDEST * opening / self.limits.opening
            self._check("gripper", self._api.set_gripper_position(position, wait=False))
        self._opening = opening

    def _width(self) -> float:
        if not self._has_gripper:
            return self._opening
        position = self._ask("gripper", self._api.get_gripper_position())
        return float(position) * self.limits.opening / _WIDEST

    def _ask(self, what: str, answer: tuple[int, Any]) -> Any:
        code, value = answer
        if code not in (0, 1, 2):  # 1 and 2 tell of errors and warnings, which are read by themselves
            raise ArmError(f"{what}: the xArm answers with code {code}")
        return value

    def _check(self, what: str, code: int) -> None:
        if code not in (0, 2):
            raise ArmError(f"{what}: the xArm answers with code {code}")
