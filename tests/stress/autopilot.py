"""A device without a person: it steers as the toy expert does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from demos.toy import ToyExpert
from envs.toy import STEP, Toy
from s2robot.teleop.device import ALLOWED, Command, Event, Images, Phase, Status

_WAITS = (Phase.WAITING, Phase.PAUSED, Phase.REVIEW, Phase.TROUBLE, Phase.STOPPED)


class Autopilot:
    """Presses one button each time that the session waits for one, and picks the cube up in between.

    Args:
        buttons: what it presses while the session waits, one after the other; then it ends the session.
        during: step of a take -> what it presses there, once.
    """

    invitation = "an autopilot steers"

    def __init__(self, env: Toy, buttons: Iterable[Event], during: Mapping[int, Event] | None = None) -> None:
        self._expert = ToyExpert(env)
        self._buttons = iter(buttons)
        self._during = dict(during or {})
        self._action = np.array([0.0, 0.0, 0.0, -1.0])
        self.status = Status()
        self.messages: list[str] = []

    def command(self) -> Command:
        return Command(np.clip(self._action[:3] / STEP, -1.0, 1.0))

    def events(self) -> list[Event]:
        status = self.status
        if status.phase in _WAITS:
            end = Event.FINISH if Event.FINISH in ALLOWED[status.phase] else Event.DISCARD
            return [next(self._buttons, end)]
        if status.phase is not Phase.RECORDING:
            return []
        pressed = [self._during.pop(status.steps)] if status.steps in self._during else []
        if bool(self._action[3] > 0) != status.closed:
            pressed.append(Event.GRIPPER)
        return pressed

    def show(self, status: Status, images: Images) -> None:
        if status.steps == 0:
            self._expert.reset()
        new_step = status.steps != self.status.steps
        self.status = Status(**vars(status))
        if status.message and status.message not in self.messages[-1:]:
            self.messages.append(status.message)
        if status.proprio and (new_step or status.steps == 0):
            self._action = self._expert.act({"proprio": np.array(status.proprio, np.float32)})

    def close(self) -> None:
        """Nothing is held."""
