"""`teleop=terminal`: keys for takes. It gives no motion: a terminal reports no key's release."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from typing import TextIO

from s2robot.core.errors import UserError
from s2robot.teleop.device import Command, Event, Images, Status, likely
from s2robot.teleop.devices import DeviceKind, NoOptions

_ESCAPE = b"\x1b"
_KEYS = {
    b"\x7f": Event.DISCARD,
    b"\x08": Event.DISCARD,
    b"r": Event.REDO,
    b"k": Event.KEEP,
    b"z": Event.UNDO,
    b"h": Event.HOME,
    b"p": Event.PAUSE,
    b"t": Event.TAKE_OVER,
    b" ": Event.GRIPPER,
}


class TerminalKeys:
    """Reads single keys where the command was started, over SSH too; Ctrl-C stays what it is.

    Raises UserError where there is no terminal.
    """

    invitation = (
        "keys: Enter start, go on, keep a success; k keep; Backspace discard; r redo; z undo the last demo; "
        "h home; p pause; t take over; Space gripper; Esc emergency stop; Ctrl-C ends the session"
    )

    def __init__(self, keyboard: TextIO | None = None, screen: TextIO | None = None) -> None:
        self._keyboard, self._screen = keyboard or sys.stdin, screen or sys.stdout
        try:
            self._handle = self._keyboard.fileno()
            self._before = termios.tcgetattr(self._handle)
        except (termios.error, OSError, ValueError) as error:
            raise UserError("teleop=terminal needs a terminal: standard input is none") from error
        tty.setcbreak(self._handle)
        self._status, self._said = Status(), ""

    def command(self) -> Command:
        """Never any motion."""
        return Command()

    def events(self) -> list[Event]:
        pressed = self._pressed()
        if pressed == _ESCAPE:
            return [Event.STOP]
        if pressed.startswith(_ESCAPE):  # a key that sends several bytes, such as an arrow
            return []
        keys = [pressed[i : i + 1].lower() for i in range(len(pressed))]
        events = [likely(self._status) if key in (b"\r", b"\n") else _KEYS.get(key) for key in keys]
        return [event for event in events if event]

    def show(self, status: Status, images: Images) -> None:
        self._status = status
        line = f"{status.phase}: {status.message}" if status.message else str(status.phase)
        if line != self._said:
            self._said = line
            self._screen.write(line + "\n")
            self._screen.flush()

    def close(self) -> None:
        """Leaves the terminal as it was."""
        with contextlib.suppress(termios.error):  # it may be gone
            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._before)

    def _pressed(self) -> bytes:
        ready, _, _ = select.select([self._handle], [], [], 0)
        return os.read(self._handle, 64) if ready else b""


KIND = DeviceKind(NoOptions, lambda *_: TerminalKeys(), can_steer=False)
