"""`teleop=browser`: what the page has said, and what it is to show."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.teleop.device import Command, Event, Images, Status, plain_status

SILENCE = 0.2  # s without a word from the page after which nothing moves: with a step of 0.1 s, within 300 ms
GONE = 1.0  # s of silence after which nobody is there


@dataclass(frozen=True)
class PageState:
    """What the control loop showed last: `number` counts the states, `frame` the frames."""

    number: int
    frame: int
    status: Mapping[str, Any]
    images: Images


class BrowserDevice:
    """Between the control loop and the server's thread: neither waits for the other.

    One page at a time steers: the first, until it is gone or another asks to. Any page may stop everything.

    Args:
        invitation: how a person gets to the page.
        clock: seconds; for tests.
    """

    def __init__(self, invitation: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.invitation = invitation
        self._clock = clock
        self._lock = threading.Lock()
        self._connected: list[int] = []  # numbers of the pages that are there
        self._pages, self._page = 0, 0  # how many there were; the one that steers, 0: none
        self._interruption: str | None = None  # why a running take pauses though a page steers again
        self._heard, self._focused = -math.inf, False
        self._motion, self._tapped = np.zeros(3), np.zeros(3)
        self._pointer: np.ndarray | None = None
        self._events: list[Event] = []
        self.shown = PageState(0, 0, plain_status(Status()), {})
        self.changed: Callable[[], None] = lambda: None
        self.stop: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------ the control loop's side

    def command(self) -> Command:
        with self._lock:
            silence = self._clock() - self._heard
            interruption, self._interruption = self._interruption, None
            if absence := self._absence(silence) or interruption:
                self._let_go()
                return Command(absence=absence)
            if silence > SILENCE:
                self._let_go()
            motion = np.where(self._motion != 0, self._motion, self._tapped)
            self._tapped = np.zeros(3)
            return Command(motion, pointer=self._pointer)

    def events(self) -> list[Event]:
        with self._lock:
            events, self._events = self._events, []
            return events

    def show(self, status: Status, images: Images) -> None:
        before = self.shown
        frame = before.frame + (images is not before.images)
        self.shown = PageState(before.number + 1, frame, plain_status(status), images)
        self.changed()

    def close(self) -> None:
        self.stop()

    # ------------------------------------------------------------------ the page's side

    def connect(self) -> int:
        """A page is there, and steers where none does or the one that did is silent; returns its number."""
        with self._lock:
            self._pages += 1
            self._connected.append(self._pages)
            if not self._page or self._clock() - self._heard > GONE:
                self._steer(self._pages)
            page = self._pages
        self.changed()
        return page

    def steers(self, page: int) -> bool:
        """Whether it is this page that steers."""
        return page == self._page

    def disconnect(self, page: int) -> None:
        """The page is gone; where it steered, the newest of the others does. A running take pauses."""
        with self._lock:
            self._connected.remove(page)
            if page == self._page:
                self._steer(self._connected[-1] if self._connected else 0)
                self._interruption = "the page was closed or loaded again"
        self.changed()

    def hear(self, page: int, message: Any) -> None:
        """Takes `{"motion": [x, y, z], "focused": bool}`, `{"event": name}` or `{"steer": true}` from a page.

        A motion may come with `"pointer": [across, down]`: where a mouse points in the first camera's frame.

        Of a page that does not steer only the emergency stop is heard, and the wish to steer: a running take
        then pauses.

        Raises ValueError for anything else.
        """
        if not isinstance(message, dict):
            raise ValueError("no message")
        with self._lock:
            event = Event(message["event"]) if "event" in message else None
            if event is Event.STOP or (event and self.steers(page)):
                self._events.append(event)
            if message.get("steer") is True and not self.steers(page):
                self._steer(page)
                self._interruption = "another window steers now"
            if self.steers(page):
                self._heard = self._clock()
                if "motion" in message:
                    self._focused = bool(message.get("focused"))
                    self._move(_motion(message["motion"]))
                    self._pointer = _pointer(message.get("pointer"))
        if "steer" in message:
            self.changed()

    def _steer(self, page: int) -> None:
        self._page, self._heard, self._focused = page, self._clock(), True
        self._let_go()

    def _move(self, motion: np.ndarray) -> None:
        # A key that is pressed and released between two control steps still counts for one.
        self._tapped = np.where((self._motion == 0) & (motion != 0), motion, self._tapped)
        self._motion = motion

    def _absence(self, silence: float) -> str | None:
        if not self._page:
            return "no page is connected"
        if silence > GONE:
            return "the page has fallen silent"
        return None if self._focused else "the page has lost the focus"

    def _let_go(self) -> None:
        self._motion, self._tapped, self._pointer = np.zeros(3), np.zeros(3), None


def _motion(values: Any) -> np.ndarray:
    motion = np.array(values, float)
    if motion.shape != (3,) or not np.isfinite(motion).all():
        raise ValueError(f"motion {values}: expected three finite numbers")
    return np.clip(motion, -1.0, 1.0)


def _pointer(values: Any) -> np.ndarray | None:
    if values is None:
        return None
    pointer = np.array(values, float)
    if pointer.shape != (2,) or not np.isfinite(pointer).all():
        raise ValueError(f"pointer {values}: expected two finite numbers")
    return np.clip(pointer, 0.0, 1.0)
