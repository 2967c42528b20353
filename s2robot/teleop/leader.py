"""`teleop=leader`: a leader arm of Dynamixel servos, such as GELLO: its joints are the robot's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.teleop.device import Command, Event, Images, Phase, Status, require
from s2robot.teleop.devices import DeviceKind, TeleopContext

_POSITION, _BYTES = 132, 4  # where the X series keeps its present position
_TURN = 4096  # steps
_STALE = 0.2  # s: an older reading moves nothing
_TRIES = 3  # readings that go wrong before servos are called silent: a byte is lost now and then
_RETRY = 1.0  # s between two attempts to find servos that were unplugged
_APART = 0.5  # rad between leader and arm: beyond, somebody has let go of one of them
_HALF = 0.1  # of the way of the gripper's trigger, around its middle: where it stays as it was


class Servos(Protocol):
    def read(self) -> np.ndarray:
        """The angles (rad) of all servos now. Raises UserError where they do not answer."""
        ...

    def close(self) -> None: ...


class DynamixelBus:
    """Servos of Dynamixel's X series on one serial port, which are read and never driven.

    Raises UserError where the extra is missing or the port cannot be opened.
    """

    def __init__(self, port: str, baud: int, ids: Sequence[int]) -> None:
        require("leader", "leader", "dynamixel_sdk", "serial")
        import dynamixel_sdk as sdk  # pyright: ignore[reportMissingImports]

        self._ids, self._name, self._good = list(ids), port, sdk.COMM_SUCCESS
        self._port = sdk.PortHandler(port)
        with self._refused("cannot be opened"):
            if not self._port.setBaudRate(baud):
                raise UserError(f"leader.baud={baud} is no rate that Dynamixel servos know, such as 57600")
        self._packets = sdk.PacketHandler(2.0)
        self._group = sdk.GroupSyncRead(self._port, self._packets, _POSITION, _BYTES)
        for servo in self._ids:
            self._group.addParam(servo)

    def read(self) -> np.ndarray:
        with self._refused("is gone"):
            result = self._group.txRxPacket()
            for _ in range(_TRIES - 1):
                result = result if result == self._good else self._group.txRxPacket()
        if result != self._good:
            why = str(self._packets.getTxRxResult(result)).removeprefix("[TxRxResult] ")
            raise UserError(f"teleop=leader: servos {self._ids} at {self._name}: {why}")
        raw = [self._group.getData(servo, _POSITION, _BYTES) for servo in self._ids]
        return np.array(raw, np.uint32).view(np.int32) * (2 * np.pi / _TURN)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._port.closePort()

    @contextlib.contextmanager
    def _refused(self, what: str) -> Any:
        import termios

        try:
            yield
        except (OSError, termios.error) as error:  # serial.SerialException is an OSError
            raise UserError(f"teleop=leader: {self._name} {what}: {error}") from error


@dataclass(frozen=True)
class LeaderOptions:
    """How a leader arm is put together; see configs/record.yaml."""

    port: str
    baud: int
    ids: tuple[int, ...]
    signs: tuple[int, ...]
    offsets: tuple[float, ...] | None
    gripper: int
    open: float
    closed: float

    def check(self, spec: RobotSpec) -> None:
        """Raises UserError where it does not fit a robot."""
        if spec.action_space != "joint":
            raise UserError(
                f"teleop=leader moves joints, and actions are {spec.action_space}: "
                "give env.action_space=joint"
            )
        joints = spec.action_dim - len(spec.grippers)
        lists = {"ids": self.ids, "signs": self.signs, "offsets": self.offsets}
        for name, values in lists.items():
            if values is not None and len(values) != joints:
                raise UserError(f"leader.{name}={list(values)}: expected {joints}, one a joint")


class Leader:
    """Asks for the joint angles that the leader has, once it is where the arm is.

    Args:
        build: how it is put together. Without offsets, they are the quarter turns that bring the leader to
            the arm as both stand when the first take begins.
        opened: gives the servos, the gripper's last; asked again after an unplugging.
        clock: seconds; for tests.
    """

    def __init__(
        self, build: LeaderOptions, opened: Callable[[], Servos], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._signs = np.array(build.signs, float)
        self._offsets = None if build.offsets is None else np.array(build.offsets, float)
        self._ends = build.open, build.closed
        self._open, self._clock = opened, clock
        self._servos: Servos | None = opened()
        self._angles, self._read_at = self._servos.read(), clock()
        self._closed = False
        self._status = Status()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="leader arm", daemon=True)
        self._thread.start()
        self.invitation = (
            f"leader arm at {build.port}: hold it as the arm stands; its joints are followed, its trigger "
            "closes the gripper"
        )

    def command(self) -> Command:
        if self._clock() - self._read_at > _STALE:
            return Command(absence="the leader arm does not answer")
        arm = np.array(self._status.proprio[: len(self._signs)])
        joints = self._joints(self._angles[: len(self._signs)], arm)
        apart = np.abs(joints - arm)
        if apart.max() > _APART:
            worst = int(apart.argmax())
            difference = f"{joints[worst] - arm[worst]:+.2f} rad"
            return Command(absence=f"the leader's joint {worst + 1} is {difference} off the arm's: bring it")
        return Command(joints=joints)

    def events(self) -> list[Event]:
        """The gripper's trigger: an event where the gripper is not commanded yet as the trigger asks."""
        opened, closed = self._ends
        pulled = (self._angles[-1] - opened) / (closed - opened)
        if abs(pulled - 0.5) > _HALF:
            self._closed = bool(pulled > 0.5)
        status = self._status
        turns = status.phase is Phase.RECORDING and self._closed != status.closed
        return [Event.GRIPPER] if turns else []

    def show(self, status: Status, images: Images) -> None:
        self._status = status

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=2)
        if self._servos:
            self._servos.close()

    def _joints(self, angles: np.ndarray, arm: np.ndarray) -> np.ndarray:
        """The robot's joint angles that the servos' mean, of all turns those nearest to the arm's."""
        angles = self._signs * angles
        if self._offsets is None:
            quarter = np.pi / 2
            self._offsets = np.round((angles - arm) / quarter) * quarter
        apart = angles - self._offsets - arm
        return arm + (apart + np.pi) % (2 * np.pi) - np.pi

    def _listen(self) -> None:
        """Reads the servos again and again: a control step never waits for them."""
        while not self._ended.is_set():
            try:
                if self._servos is None:
                    self._servos = self._open()
                angles = self._servos.read()
                self._angles, self._read_at = angles, self._clock()
                self._ended.wait(0.005)
            except UserError:
                if self._servos:
                    self._servos.close()
                self._servos = None
                self._ended.wait(_RETRY)


@dataclass(frozen=True)
class LeaderSection:
    """The options of `teleop=leader`."""

    leader: LeaderOptions


def _make(options: LeaderSection, context: TeleopContext) -> Leader:
    build = options.leader
    build.check(context.env.unwrapped.robot_spec)  # pyright: ignore[reportAttributeAccessIssue]
    return Leader(build, partial(DynamixelBus, build.port, build.baud, [*build.ids, build.gripper]))


KIND = DeviceKind(LeaderSection, _make, can_discard=False, can_supervise=False)
