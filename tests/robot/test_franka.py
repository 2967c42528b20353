"""The Franka driver over Franka's own wire protocol, against franka-sim with its limits enforced.

Needs an environment of its own (tests/franka_server.py) and a machine with time for a 1 kHz loop.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from franka_server import VARIABLE, FrankaServer, folder
from mistakes import refusal
from streaming import at_home, stream

pytest.importorskip("franka")

from s2robot.robot.arm import ArmCommand, ArmError
from s2robot.robot.arms.franka import FrankaArm
from s2robot.robot.arms.models import PANDA_HOME
from s2robot.robot.safety import SafeArm
from s2robot.robot.safety_events import Stopped

needs_franka_sim = pytest.mark.skipif(folder() is None, reason=f"{VARIABLE} names no franka-sim")


def test_where_nobody_answers_that_is_told() -> None:
    said = refusal(FrankaArm("127.0.0.1:1", realtime="ignore", hand=False).connect)
    assert said.startswith("no Franka at 127.0.0.1:1: ")


@pytest.fixture
def server() -> Iterator[FrankaServer]:
    with FrankaServer() as running:
        yield running


@pytest.fixture
def safe(server: FrankaServer) -> Iterator[SafeArm]:
    with at_home(FrankaArm(server.host, realtime="ignore", hand=False)) as safe:
        yield safe


@pytest.mark.slow
@needs_franka_sim
def test_it_streams_without_a_reflex(safe: SafeArm) -> None:
    assert stream(safe, 5.0) < 0.2
    assert safe.counts["reflex"] == 0 and safe.counts["watchdog"] == 0


@pytest.mark.slow
@needs_franka_sim
def test_left_alone_it_is_stopped(safe: SafeArm) -> None:
    stream(safe, 1.0)
    time.sleep(1.0)
    with pytest.raises(Stopped, match="watchdog"):
        safe.command(ArmCommand(PANDA_HOME, 0.08))
    at = safe.observe().joints
    time.sleep(0.5)
    assert np.abs(safe.observe().joints - at).max() < 0.01, "it stands still"


@pytest.mark.slow
@needs_franka_sim
def test_a_reflex_stops_it_until_recover(safe: SafeArm) -> None:
    stream(safe, 1.0)
    mine = os.getpid()  # a stopped client misses its cycles, as on a network that is cut for a moment
    subprocess.run(["sh", "-c", f"kill -STOP {mine}; sleep 0.5; kill -CONT {mine}"], check=True)
    with pytest.raises(Stopped):
        stream(safe, 2.0)
    time.sleep(0.5)  # the watchdog stops it sooner than the arm's answer is read
    with pytest.raises(Stopped, match="communication_constraints_violation"):
        safe.start()
    safe.recover()
    safe.home(PANDA_HOME, 0.08)
    safe.start()
    stream(safe, 1.0)


@pytest.mark.slow
@needs_franka_sim
def test_a_server_killed_in_mid_motion_stops_everything(server: FrankaServer, safe: SafeArm) -> None:
    stream(safe, 1.0)
    server.kill()
    with pytest.raises(Stopped):
        stream(safe, 3.0)
    with pytest.raises((Stopped, ArmError)):
        safe.start()
