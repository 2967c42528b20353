"""A robot that LeRobot drives (SO-101 and the like), in LeRobot's own environment."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import radians
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.integrations.lerobot.environment import lerobot_python
from s2robot.integrations.lerobot.process import Bridge
from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode, refuse_latched
from s2robot.robot.arms.models import so101_kinematics, so101_limits
from s2robot.robot.clock import Clock
from s2robot.robot.kinematics import Kinematics

KINDS = {"so101": (so101_kinematics, so101_limits)}
"""Arms whose figures are known: name -> kinematics and limits."""

_START = 60.0  # s: it imports every driver it has
_ANSWER = 1.0  # s
_HOMING = 0.5  # rad/s
_PERIOD = 0.05  # s, of homing


class LeRobotArm:
    """A driver. Its servos hold their last target; `stop` makes that where they are.

    Args:
        type, options: of lerobot's robot config, e.g. `so101_follower` and `{"port": "/dev/ttyACM0"}`;
            its own cameras are left out.
        kind: of `KINDS`.
        joints, gripper: lerobot's names, without `.pos`; joints in degrees (its `use_degrees`).
        opened, closed: what the gripper shows there, in lerobot's numbers.
        lerobot: `environment` and `python` as of `lerobot_python`.
        plugins: folders of `lerobot_robot_...` packages that the environment does not have.

    Raises UserError for an unknown kind.
    """

    def __init__(
        self,
        type: str,
        options: Mapping[str, Any],
        kind: str,
        joints: Sequence[str],
        gripper: str = "gripper",
        opened: float = 100.0,
        closed: float = 0.0,
        lerobot: Mapping[str, Any] | None = None,
        plugins: Sequence[str] = (),
    ) -> None:
        if kind not in KINDS:
            raise unknown("kind of arm", kind, KINDS)
        kinematics, limits = KINDS[kind]
        self.kinematics: Kinematics = kinematics()
        self.limits: ArmLimits = limits()
        if len(joints) != len(self.limits.low):
            raise UserError(f"joints=[{', '.join(joints)}]: a {kind} has {len(self.limits.low)}")
        self._config = {"type": type, "options": dict(options), "plugins": [str(Path(p)) for p in plugins]}
        self._names, self._gripper = [f"{name}.pos" for name in joints], f"{gripper}.pos"
        self._range = (closed, opened)
        self._find_python = lambda: lerobot_python(
            **{"environment": None, "python": None} | dict(lerobot or {})
        )
        self._clock, self._lock = Clock(), threading.Lock()
        self._bridge: Bridge | None = None
        self._mode = Mode.CLOSED
        self._lost: str | None = None

    def connect(self) -> None:
        self._bridge, self._lost = Bridge(self._find_python(), "robot", Path(), own_home=False), None
        try:
            features = self._ask(self._config, _START)
            wanted = [*self._names, self._gripper]
            missing = [
                name for name in wanted if name not in features["observed"] or name not in features["action"]
            ]
            if missing:
                raise ArmError(f"it has no {', '.join(missing)}, but {', '.join(features['action'])}")
        except ArmError as error:
            self._bridge.close()
            raise UserError(f"{self._config['type']} does not start: {error}") from error
        self._mode = Mode.STOPPED

    def close(self) -> None:
        self._mode = Mode.CLOSED
        if self._bridge is not None:
            self._bridge.close(grace=5.0)  # it lets go of the motors

    def observe(self) -> ArmState:
        before = self._clock.now()
        seen = self._ask({})["observed"]
        joints = np.array([radians(seen[name]) for name in self._names])
        return ArmState(joints, self._width(seen[self._gripper]), before)

    def command(self, command: ArmCommand) -> ArmCommand:
        if self._mode is not Mode.READY:
            return command
        sent = self._send(command)
        joints = np.array([radians(sent[name]) for name in self._names])
        return ArmCommand(joints, self._width(sent[self._gripper]))

    def home(self, joints: np.ndarray, opening: float) -> None:
        start = self.observe().joints
        steps = max(1, round(np.abs(joints - start).max() / (_HOMING * _PERIOD)))
        for step in range(1, steps + 1):
            if self._mode is not Mode.READY:
                raise ArmError("stopped")
            self._send(ArmCommand(start + (joints - start) * step / steps, opening))
            self._clock.sleep(_PERIOD)

    def stop(self) -> None:
        if self._mode is Mode.READY:
            self._mode = Mode.STOPPED
        self._hold()

    def resume(self) -> None:
        refuse_latched(self._mode)
        self.observe()  # raises where it is lost
        refuse_latched(self._mode)  # an emergency stop came meanwhile?
        self._mode = Mode.READY

    def estop(self) -> None:
        self._mode = Mode.ESTOP
        self._hold()

    def recover(self) -> None:
        self.observe()
        self._mode = Mode.STOPPED

    def state(self) -> Mode:
        return self._mode

    # ------------------------------------------------------------------ parts

    def _send(self, command: ArmCommand) -> dict[str, float]:
        closed, opened = self._range
        share = command.gripper / self.limits.opening
        action = dict(zip(self._names, np.degrees(command.joints).tolist(), strict=True))
        sent = self._ask({"action": action | {self._gripper: closed + share * (opened - closed)}})["sent"]
        if self._mode is not Mode.READY:  # a stop in another thread, which this target may have overtaken
            self._hold()
        return sent

    def _hold(self) -> None:
        """The servos' targets become what they show: they do not stop by themselves."""
        if self._bridge is not None and self._lost is None:
            with suppress(ArmError):  # the next call says so
                seen = self._ask({})["observed"]
                self._ask({"action": {name: seen[name] for name in (*self._names, self._gripper)}})

    def _width(self, shown: float) -> float:
        closed, opened = self._range
        return float(np.clip((shown - closed) / (opened - closed), 0.0, 1.0)) * self.limits.opening

    def _ask(self, message: Mapping[str, Any], timeout: float = _ANSWER) -> dict[str, Any]:
        """One question at a time. Raises ArmError; after silence for good, or answers would be mixed up."""
        assert self._bridge is not None
        if not self._lock.acquire(timeout=timeout):
            raise ArmError("lerobot is busy")
        try:
            if self._lost is not None:
                raise ArmError(self._lost)
            self._bridge.send(message)
            head, _ = self._bridge.receive(timeout)
        except (UserError, TimeoutError) as error:
            self._lost = str(error)
            raise ArmError(self._lost) from error
        finally:
            self._lock.release()
        if "error" in head:
            raise ArmError(head["error"])
        return head
