"""The Franka Hand, whose calls wait until the fingers are there: in a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

_SPEED = 0.1  # m/s


class Hand:
    """Opens to a width or grasps whatever is there.

    Args:
        opening: widest, in m. force: of a grasp, in N.

    Attributes:
        width: as last measured (m).
    """

    def __init__(self, opening: float, force: float) -> None:
        self._opening, self._force = opening, force
        self._asked: float | None = None
        self._changed = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None
        self.width = opening
        self.problem: str | None = None

    def connect(self, gripper: Any) -> None:
        """Takes the library's own object for a hand: franka-rs's or franky's. Raises what that raises."""
        self._gripper = gripper
        self.width = self._read()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="hand", daemon=True)
        self._thread.start()

    def ask(self, width: float) -> None:
        """Goes for a width (m), at once; below half the widest it grasps."""
        with self._changed:
            self._asked = width
            self._changed.notify()

    def close(self) -> None:
        """Lets go of the connection, not of what is held."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        done: bool | None = None  # whether it was closed last
        while True:
            with self._changed:
                self._changed.wait(0.05)
                if self._ending:
                    return
                asked = self._asked
            try:
                closing = None if asked is None else asked < self._opening / 2
                if closing is not None and closing != done:
                    self._move(closing)
                    done = closing
                self.width = self._read()
            except Exception as error:  # an arm without fingers is no danger: reported, and tried again
                self.problem = str(error)
                log.warning("hand: %s", error)

    def _read(self) -> float:
        ask = getattr(self._gripper, "read_once", None)
        return float(ask().width if ask else self._gripper.width)

    def _move(self, closing: bool) -> None:
        if closing:
            wide = self._opening  # anything between the fingers counts as grasped
            self._gripper.grasp(0.0, _SPEED, self._force, wide, wide)
        else:
            self._gripper.move(self._opening, _SPEED)
