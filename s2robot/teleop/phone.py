"""`teleop=phone`: a phone that knows by its camera how it is moved (WebXR, through the package `teleop`)."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.teleop.browser import GONE, SILENCE
from s2robot.teleop.device import Command, Event, Images, Phase, Status, likely, motion_from_view, require
from s2robot.teleop.devices import DeviceKind
from s2robot.teleop.steering import make_steering

_ASLEEP = 1.0  # s without a control step: what the phone did meanwhile is no wish
_LOOPBACK = "127.0.0.1"


class Phone:
    """While its button is held, the gripper follows the phone, as far as the action space lets it.

    Args:
        view: whether the person faces the robot (`front`) or stands as it does (`robot`).
        step: (3,) m, how far the largest motion brings the gripper in one control step.
        invitation: how a person begins.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        view: str,
        step: np.ndarray,
        invitation: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.invitation = invitation
        towards = motion_from_view(view, across=0.0, along=1.0, lift=0.0)[0]
        self._scale = np.array([towards, towards, 1.0]) / step
        self._clock, self._lock = clock, threading.Lock()
        self._heard = self._asked = -math.inf
        self._holds = False
        self._position = self._followed = np.zeros(3)  # of the phone: now, and as far as it was followed
        self._gripper: Any = None
        self._buttons = (False, False)
        self._events: list[Event] = []
        self._status = Status()

    def command(self) -> Command:
        with self._lock:
            now = self._clock()
            silence, asleep = now - self._heard, now - self._asked > _ASLEEP
            self._asked = now
            follows = self._holds and self._status.phase is Phase.RECORDING
            if silence > SILENCE or asleep or not follows:
                self._followed = self._position
            if silence > GONE:
                never = math.isinf(silence)
                return Command(absence="no phone is connected" if never else "the phone has fallen silent")
            motion = np.clip((self._position - self._followed) * self._scale, -1.0, 1.0)
            self._followed = self._followed + motion / self._scale
            return Command(motion)

    def events(self) -> list[Event]:
        with self._lock:
            events, self._events = self._events, []
            return events

    def show(self, status: Status, images: Images) -> None:
        self._status = status

    def close(self) -> None:
        """The server's thread ends with the process: the package has no end for it."""

    def hear(self, pose: np.ndarray, message: Mapping[str, Any]) -> None:
        """Takes in what `teleop` makes of a message: a pose (4, 4) with x away, y to the left, z up (m)."""
        position = np.array(pose[:3, 3], float)
        if not np.isfinite(position).all():
            return
        with self._lock:
            self._heard, self._position = self._clock(), position
            self._holds = bool(message.get("move"))
            self._press(bool(message.get("reservedButtonA")), bool(message.get("reservedButtonB")))
            self._grip(message.get("gripper") == "close")

    def _press(self, *buttons: bool) -> None:
        a, b = (now and not before for now, before in zip(buttons, self._buttons, strict=True))
        self._buttons = buttons
        if a and (event := likely(self._status)):
            self._events.append(event)
        if b:
            self._events.append(Event.DISCARD)

    def _grip(self, closed: bool) -> None:
        """The phone's switch stays where it is while takes come and go: only its turning counts."""
        turned = self._gripper is not None and closed != self._gripper
        self._gripper = closed
        if turned and closed != self._status.closed:
            self._events.append(Event.GRIPPER)


def open_phone(view: str, step: np.ndarray, port: int) -> Phone:
    """A phone's device, whose page is served on loopback from now on (0: at any free port).

    Raises UserError where the extra `phone` is missing or the port cannot be had.
    """
    require("phone", "phone", "teleop", "fastapi", "transforms3d", "uvicorn", "websockets")
    from teleop import Teleop  # pyright: ignore[reportAttributeAccessIssue]

    port = _free(port)
    phone = Phone(
        view,
        step,
        f"phone: `adb reverse tcp:{port} tcp:{port}`, then https://localhost:{port} in its Chrome (the "
        "certificate is the package's); hold to move; A: start, go on, keep a success; B: discard",
    )
    server = Teleop(host=_LOOPBACK, port=port)  # it knows no token: never beyond loopback
    logging.getLogger("teleop").setLevel(logging.ERROR)
    server.subscribe(phone.hear)
    threading.Thread(target=server.run, name="phone server", daemon=True).start()
    return phone


def _free(port: int) -> int:
    try:
        with socket.create_server((_LOOPBACK, port)) as listening:
            return listening.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise UserError(
            f"cannot serve the phone's page at port {port}: {reason}; give another phone_port="
        ) from error


@dataclass(frozen=True)
class PhoneOptions:
    """The options of `teleop=phone`."""

    view: str
    phone_port: int


KIND = DeviceKind(
    PhoneOptions,
    lambda options, context: open_phone(options.view, make_steering(context.env).step, options.phone_port),
)
