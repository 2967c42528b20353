"""Recording processes that go on until somebody kills them: the victims of `tests.stress.crash_test`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

from envs.toy import Toy
from s2robot import cli
from s2robot.data.store import DemoStore
from s2robot.teleop.device import Event
from s2robot.teleop.session import Session, SessionOptions
from tests.stress.autopilot import Autopilot

_RATE = 100.0  # Hz: some 15 steps a take


def session(path: str) -> None:
    """A person's session, in which every take is kept; an autopilot is the person."""
    env = Toy(rate=_RATE)
    store = DemoStore.open_or_create(path, env.robot_spec)
    store.clean_staging()
    device = Autopilot(env, itertools.cycle([Event.START, Event.KEEP]))
    Session(SessionOptions(0, 1, 100), env, store, device, {"teleop": "autopilot"}).run()


def scripted(path: str) -> None:
    """`s2robot record` with the scripted expert."""
    options = ["env=toy", "expert=toy", "workers=0", "episodes=5000"]
    cli.main(["record", *options, f"out={path}"])


def quietly(record: Callable[[str], None], path: str) -> None:
    """Runs one of these without a word."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    record(path)
