"""The Franka Hand, whose calls wait until the fingers are there: in threads of their own."""

from __future__ import annotations

import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

_SPEED = 0.1  # m/s


class Hand:
    """Opens to a width or grasps whatever is there; who asks for the other stops what is under way.

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
        self._motion: threading.Thread | None = None  # waits for the fingers
        self._closing: bool | None = None  # whether they close, or were closed last
        self.width = opening
        self.problem: str | None = None

    def connect(self, gripper: Any) -> None:
        """Takes the library's own object for a hand: franka-rs's or franky's. Raises what that raises."""
        self._gripper = gripper
        self.width = self._read()
        self._ending, self._closing = False, None
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
        for thread in (self._thread, self._motion):
            if thread is not None:
                thread.join(5)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(0.05)
                if self._ending:
                    return
                closing = None if self._asked is None else self._asked < self._opening / 2
            try:
                if closing is not None and closing != self._closing:
                    self._stop_motion()
                    self._begin_motion(closing)
                elif self._motion is None or not self._motion.is_alive():
                    self.width = self._read()
            except Exception as error:  # an arm without fingers is no danger: reported, and tried again
                self._complain(error)

    def _stop_motion(self) -> None:
        if self._motion is not None and self._motion.is_alive():
            self._closing = None  # so that its end is none of its own
            self._gripper.stop()
            self._motion.join()

    def _begin_motion(self, closing: bool) -> None:
        self._closing = closing
        self._motion = threading.Thread(target=self._follow, args=(closing,), name="fingers", daemon=True)
        self._motion.start()

    def _follow(self, closing: bool) -> None:
        try:
            self._move(closing)
        except Exception as error:
            if self._closing is closing:
                self._closing = None  # tried again
                self._complain(error)

    def _complain(self, error: Exception) -> None:
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
