"""The person's side of a session: what is displayed, and which of the events are accepted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from s2robot.teleop.device import ALLOWED, Command, Event, Images, Phase, Status, TeleopDevice

_IDLE = 0.05  # s between two looks at the device while nothing moves


class Console:
    """A device and the state that it shows.

    `refresh` is asked before each showing for what changes by itself.
    """

    def __init__(self, device: TeleopDevice, status: Status, refresh: Callable[[Status], None]) -> None:
        self._device = device
        self._refresh = refresh
        self.status = status
        self._images: Images = {}
        self._events: deque[Event] = deque()

    def enter(self, phase: Phase, message: str) -> None:
        """Another phase of the session begins; in a recording only what is asked for from now on moves."""
        if phase is Phase.RECORDING:
            self._device.command()  # a key tapped before; a device may follow only what is recorded
        self.show(phase=phase, message=message)
        if phase is Phase.RECORDING:
            self.forget_motion()

    def forget_motion(self) -> None:
        """Discards what was to move so far."""
        self._device.command()
        wishes = (*self._events, *self._device.events())
        self._events = deque(event for event in wishes if event is not Event.GRIPPER)

    def show(self, images: Images | None = None, **changes: Any) -> None:
        """Shows frames (the last ones where None) and the state with these changes."""
        for name, value in changes.items():
            setattr(self.status, name, value)
        self._refresh(self.status)
        self._images = self._images if images is None else images
        self._device.show(self.status, self._images)

    def command(self) -> Command:
        """The motion that is asked for now."""
        return self._device.command()

    def event(self) -> Event | None:
        """The next wish that has its place in this phase; the person is informed of the others."""
        self._events.extend(self._device.events())
        while self._events:
            event = self._events.popleft()
            if event in ALLOWED[self.status.phase]:
                return event
            self.show(message=f"{event.replace('_', ' ')}: not while {self.status.phase}")
        return None

    def wait_for_event(self) -> Event:
        """As `event`, once there is one; meanwhile nothing moves."""
        while (event := self.event()) is None:
            self.idle()
        return event

    def idle(self, images: Images | None = None, **changes: Any) -> None:
        """Shows that the session lives, and lets a moment pass."""
        self.show(images, **changes)
        time.sleep(_IDLE)
