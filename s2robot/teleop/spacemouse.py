"""`teleop=spacemouse`: a 3Dconnexion SpaceMouse. Two buttons: the gripper, and what is likely wanted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s2robot.core.errors import UserError
from s2robot.teleop.device import Command, Event, Images, Status, likely, motion_from_view, require
from s2robot.teleop.devices import DeviceKind

_DEAD = 0.08  # of the full deflection: a hand at rest
_MOST_REPORTS = 256  # between two control steps; the kernel keeps no more than 64
_RETRY = 1.0  # s between two attempts to find a mouse that was unplugged


def open_mouse() -> Any:
    """The first SpaceMouse there is. Raises UserError where there is none, or hidapi is missing."""
    require("spacemouse", "spacemouse", "pyspacemouse")
    import pyspacemouse  # pyright: ignore[reportMissingImports]

    try:
        return pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.HID_Z_UP)
    except Exception as error:  # the package raises what it likes: RuntimeError, HIDException, AttributeError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"teleop=spacemouse: {reason}; is it plugged in, may you read /dev/hidraw*, "
            "is the library hidapi there (Debian: libhidapi-hidraw0)?"
        ) from error


class SpaceMouse:
    """The cap's displacement is the motion.

    Args:
        view: whose right and whose far side count, see `motion_from_view`.
        opened: gives the mouse, an open `pyspacemouse.SpaceMouseDevice`; asked again after an unplugging.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        view: str = "front",
        opened: Callable[[], Any] = open_mouse,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view, self._open, self._clock = view, opened, clock
        self._mouse: Any = opened()
        self._state: Any = self._mouse.read()
        self._buttons = list(self._state.buttons)
        self._events: list[Event] = []
        self._status = Status()
        self._lost_at = 0.0
        self.invitation = (
            f"{self._mouse.name}: push, pull and lift the cap; left button: gripper; "
            "right button: start, go on, keep a success"
        )

    def command(self) -> Command:
        self._hear()
        if self._mouse is None:
            return Command(absence="the SpaceMouse is unplugged")
        wish = (_beyond_rest(value) for value in (self._state.x, self._state.y, self._state.z))
        return Command(motion_from_view(self._view, *wish))

    def events(self) -> list[Event]:
        self._hear()
        events, self._events = self._events, []
        return events

    def show(self, status: Status, images: Images) -> None:
        self._status = status

    def close(self) -> None:
        if self._mouse is not None:
            self._mouse.close()

    def _hear(self) -> None:
        if self._mouse is None:
            self._look_for_it()
        else:
            self._take_reports()

    def _take_reports(self) -> None:
        """Takes in every report that has come since the last time, one by one."""
        from easyhid import HIDException  # pyright: ignore[reportMissingImports]

        try:
            for _ in range(_MOST_REPORTS):
                before = self._state.t
                self._state = self._mouse.read()
                if self._state.t == before:
                    return
                self._press(list(self._state.buttons))
        except HIDException:
            self._mouse, self._lost_at = None, self._clock()

    def _press(self, buttons: list[int]) -> None:
        pressed = [now and not before for now, before in zip(buttons, self._buttons, strict=True)]
        self._buttons = buttons
        if pressed[:1] == [True]:
            self._events.append(Event.GRIPPER)
        if pressed[1:2] == [True] and (event := likely(self._status)):
            self._events.append(event)

    def _look_for_it(self) -> None:
        if self._clock() - self._lost_at < _RETRY:
            return
        self._lost_at = self._clock()
        with contextlib.suppress(UserError):
            self._mouse = self._open()
            self._state = self._mouse.read()
            self._buttons = list(self._state.buttons)


def _beyond_rest(value: float) -> float:
    return 0.0 if abs(value) < _DEAD else value


@dataclass(frozen=True)
class SpaceMouseOptions:
    """The options of `teleop=spacemouse`."""

    view: str


KIND = DeviceKind(SpaceMouseOptions, lambda options, _: SpaceMouse(options.view), can_discard=False)
