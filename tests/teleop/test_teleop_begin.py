"""A take begins with what is asked for once it has begun: what was tapped or waved before moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs.toy import Toy
from s2robot.data.store import DemoStore
from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.console import Console
from s2robot.teleop.device import Images, Phase, Status, TeleopDevice, Together
from s2robot.teleop.phone import Phone
from s2robot.teleop.session import Session, SessionOptions


def tapped_page() -> BrowserDevice:
    """W was pressed and released."""
    device = BrowserDevice()
    page = device.connect()
    device.hear(page, {"motion": [1, 0, 0], "focused": True})
    device.hear(page, {"motion": [0, 0, 0], "focused": True})
    return device


def waved_phone() -> Phone:
    """Its button is held while it is carried half a metre."""
    phone, pose = Phone("robot", np.full(3, 0.05)), np.eye(4)
    phone.hear(pose, {"move": True})
    phone.command()
    pose[0, 3] = 0.5
    phone.hear(pose, {"move": True})
    return phone


@pytest.mark.parametrize("make", [tapped_page, waved_phone, lambda: Together([waved_phone(), tapped_page()])])
@pytest.mark.parametrize("before", [Phase.WAITING, Phase.PAUSED])
def test_what_was_asked_for_before_a_recording_moves_nothing_in_it(
    make: Callable[[], TeleopDevice], before: Phase
) -> None:
    console = Console(make(), Status(), lambda status: None)
    console.enter(before, "not yet")
    console.enter(Phase.RECORDING, "move to begin")
    for _ in range(3):
        assert console.command().absence is None and not console.command().moves


class Impatient(BrowserDevice):
    """A page whose person taps E and Space in each waiting phase, then starts; S is held in the take."""

    def __init__(self) -> None:
        super().__init__()
        self._number = self.connect()

    def show(self, status: Status, images: Images) -> None:
        super().show(status, images)
        if status.phase in (Phase.WAITING, Phase.REVIEW):
            self.say({"motion": [0, 0, 1], "focused": True}, {"motion": [0, 0, 0], "focused": True})
            begins = status.phase is Phase.WAITING
            done = "finish" if status.demos or status.writing else "start"
            self.say(*({"event": event} for event in (("gripper", done) if begins else ("keep",))))
        elif status.message == "move to begin":
            self.say({"motion": [1, 0, 0], "focused": True})

    def say(self, *messages: dict[str, object]) -> None:
        for message in messages:
            self.hear(self._number, message)


def test_a_key_tapped_in_ready_is_no_step_of_the_take(tmp_path: Path) -> None:
    env = Toy(image_size=16, rate=500.0)
    store = DemoStore.open_or_create(tmp_path / "demos", env.robot_spec)
    Session(SessionOptions(seed=0, episodes=1, limit=4), env, store, Impatient(), {}).run()
    (action,) = {tuple(action) for action in store.episode("000000").action}
    assert action[0] > 0 and action[1:] == (0, 0, -1), "neither lifted nor closed"
