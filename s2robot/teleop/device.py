"""The interface of every teleop device: commands and events in, status and frames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from s2robot.core.errors import UserError, unknown

VIEWS = ("front", "robot")


class Event(StrEnum):
    """What a person asks for beside motion."""

    START = "start"
    KEEP = "keep"
    DISCARD = "discard"
    REDO = "redo"
    UNDO = "undo"
    HOME = "home"
    PAUSE = "pause"
    STOP = "stop"
    GRIPPER = "gripper"
    TAKE_OVER = "take_over"
    FINISH = "finish"


class Phase(StrEnum):
    """Where a session stands."""

    WAITING = "waiting"  # the scene is laid out, the take has not begun
    RECORDING = "recording"
    PAUSED = "paused"
    REVIEW = "review"  # the take has ended: keep it?
    TROUBLE = "trouble"  # the robot, a camera or the disk refuses
    STOPPED = "stopped"  # emergency stop, until `home` releases it
    FINISHED = "finished"


_ENDS = {Event.KEEP, Event.DISCARD, Event.REDO, Event.STOP}
ALLOWED: Mapping[Phase, frozenset[Event]] = {
    Phase.WAITING: frozenset({Event.START, Event.UNDO, Event.HOME, Event.STOP, Event.FINISH}),
    Phase.RECORDING: frozenset({Event.PAUSE, Event.GRIPPER, Event.TAKE_OVER, *_ENDS}),
    Phase.PAUSED: frozenset({Event.START, Event.PAUSE, *_ENDS}),
    Phase.REVIEW: frozenset(_ENDS),
    Phase.TROUBLE: frozenset({Event.HOME, Event.STOP, Event.FINISH}),
    Phase.STOPPED: frozenset({Event.HOME, Event.FINISH}),
    Phase.FINISHED: frozenset(),
}
"""The events that mean something in each phase; the others are refused."""


@dataclass(frozen=True, eq=False)
class Command:
    """What a device asks for at one control step.

    Attributes:
        motion: (3,) of the gripper along x, y, z of the robot's base frame, from -1 to 1: 1 is the largest
            step that the action space knows.
        absence: None, or in words why nobody steers (no connection, no focus, unplugged): the motion is zero.
        joints: None, or in place of a motion where a leader arm wants the joints to be (rad).
        pointer: None, or in place of a motion (2,) where a mouse points in the first camera's frame: 0 to 1
            from the left, and from the top.
    """

    motion: np.ndarray = field(default_factory=lambda: np.zeros(3))
    absence: str | None = None
    joints: np.ndarray | None = None
    pointer: np.ndarray | None = None

    @property
    def moves(self) -> bool:
        return self.joints is not None or self.pointer is not None or bool(np.any(self.motion))


@dataclass
class Status:
    """The status that a person reads, at every step and while nothing moves.

    Attributes:
        message: one line: what happened, what is expected now.
        demos, target: demos in the store, demos wanted.
        steps, seconds: of the running take.
        rate, achieved: control steps a second (Hz), asked for and measured over the take so far.
        jitter: standard deviation of the measured periods (s). overruns: periods that came too late.
        closed: whether the gripper is commanded to close. by_person: whether a person acts, not a policy.
        writing: demos on their way to the disk. replay: the step that is displayed while a take is reviewed.
        facts: name -> what else is known, e.g. of latencies and of the safety layer.
        chunk: (Ta, Da) the actions that a policy has in mind.
    """

    phase: Phase = Phase.WAITING
    message: str = ""
    demos: int = 0
    target: int = 0
    steps: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    achieved: float | None = None
    jitter: float | None = None
    overruns: int = 0
    success: bool = False
    closed: bool = False
    by_person: bool = True
    writing: int = 0
    replay: int | None = None
    proprio: list[float] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    chunk: list[list[float]] = field(default_factory=list)


Images = Mapping[str, np.ndarray]


class TeleopDevice(Protocol):
    """What a person holds: a page in a browser, a SpaceMouse, a phone, keys.

    No method may wait: each is called within a control step. `invitation` says in one line how to begin.
    """

    @property
    def invitation(self) -> str: ...

    def command(self) -> Command:
        """The motion that is asked for now; a key tapped since the last call counts once."""
        ...

    def events(self) -> Sequence[Event]:
        """What was asked for since the last call, in order."""
        ...

    def show(self, status: Status, images: Images) -> None:
        """The newest state and frames, {camera: uint8 (H, W, 3)}, for devices that can show any."""
        ...

    def close(self) -> None:
        """Lets go of the device."""
        ...


class Together:
    """Several devices as one: the first steers and must be there; all give events and show the state.

    Where the first asks for no motion, the next that does is followed.
    """

    def __init__(self, devices: Sequence[TeleopDevice]) -> None:
        self._devices = list(devices)
        self.invitation = "\n".join(device.invitation for device in devices)

    def command(self) -> Command:
        commands = [device.command() for device in self._devices]
        if absence := commands[0].absence:
            return Command(absence=absence)
        return next((command for command in commands if command.moves), commands[0])

    def events(self) -> list[Event]:
        return [event for device in self._devices for event in device.events()]

    def show(self, status: Status, images: Images) -> None:
        for device in self._devices:
            device.show(status, images)

    def close(self) -> None:
        for device in self._devices:
            device.close()


def likely(status: Status) -> Event | None:
    """What one button for everything means now: to begin, to go on, to keep a success.

    None where nothing is likely, or only what would throw a take away.
    """
    match status.phase:
        case Phase.WAITING | Phase.PAUSED:
            return Event.START
        case Phase.RECORDING:
            return Event.KEEP
        case Phase.REVIEW:
            return Event.KEEP if status.success else None
        case Phase.TROUBLE | Phase.STOPPED:
            return Event.HOME
    return None


def motion_from_view(view: str, across: float, along: float, lift: float) -> np.ndarray:
    """The motion (3,) along the base frame's axes for a wish to the right, away from oneself, and up.

    Args:
        view: `front`: as the person, or the camera, that faces the robot sees it; `robot`: as the robot does.
    """
    if view not in VIEWS:
        raise unknown("view", view, VIEWS)
    sign = 1.0 if view == "robot" else -1.0
    return np.clip([sign * along, -sign * across, lift], -1.0, 1.0)


def require(device: str, extra: str, *modules: str) -> None:
    """Raises UserError, naming the extra, where a package that a device needs is not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UserError(f'teleop={device} needs {" and ".join(missing)}: pip install "s2robot[{extra}]"')


def plain_status(status: Status) -> dict[str, Any]:
    """The state fit for JSON, with the events that it allows and the one that is likely."""
    return {**vars(status), "allowed": sorted(ALLOWED[status.phase]), "likely": likely(status)}
