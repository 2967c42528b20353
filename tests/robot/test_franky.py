"""The driver through franky, against franky-sim: streaming, stopping, and the Franka Hand."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from franky_server import HOST, VARIABLE, FrankyServer, folder
from mistakes import refusal
from streaming import at_home, stream

pytest.importorskip("franky")

from s2robot.robot.arm import ArmCommand, ArmError, Mode
from s2robot.robot.arms.franky import FrankyArm
from s2robot.robot.arms.models import PANDA_HOME
from s2robot.robot.safety import SafeArm
from s2robot.robot.safety_events import Stopped

needs_franky_sim = pytest.mark.skipif(folder() is None, reason=f"{VARIABLE} names no franky-sim")


def test_where_nobody_answers_that_is_told() -> None:
    arm = FrankyArm("127.0.0.1", realtime="ignore", hand=False)
    assert refusal(arm.connect).startswith("no Franka at 127.0.0.1: ")
    arm.close()


@pytest.fixture
def server() -> Iterator[FrankyServer]:
    with FrankyServer() as running:
        yield running


@pytest.fixture
def safe(server: FrankyServer) -> Iterator[SafeArm]:
    with at_home(FrankyArm(HOST, realtime="ignore")) as safe:
        yield safe


@pytest.mark.slow
@needs_franky_sim
def test_it_streams_and_its_hand_closes_and_opens(safe: SafeArm) -> None:
    assert stream(safe, 3.0, opening=0.0) < 0.2
    assert safe.observe().gripper < 0.02
    assert stream(safe, 3.0) < 0.2
    assert safe.observe().gripper > 0.06
    assert safe.counts["reflex"] == 0 and safe.counts["watchdog"] == 0


@pytest.mark.slow
@needs_franky_sim
def test_left_alone_it_is_stopped_and_starts_again(safe: SafeArm) -> None:
    stream(safe, 1.0)
    time.sleep(1.0)
    with pytest.raises(Stopped, match="watchdog"):
        safe.command(ArmCommand(PANDA_HOME, 0.08))
    at = safe.observe().joints
    time.sleep(0.5)
    assert np.abs(safe.observe().joints - at).max() < 0.01, "it stands still"
    safe.start()
    stream(safe, 1.0)


@pytest.mark.slow
@needs_franky_sim
def test_an_emergency_stop_holds_until_recover(safe: SafeArm) -> None:
    stream(safe, 1.0)
    safe.estop()
    with pytest.raises(Stopped, match="emergency stop"):
        safe.command(ArmCommand(PANDA_HOME, 0.08))
    with pytest.raises(ArmError, match="emergency stop"):
        safe.arm.resume()
    time.sleep(0.5)  # it brakes
    at = safe.observe().joints
    time.sleep(0.5)
    assert np.abs(safe.observe().joints - at).max() < 0.01, "it stands still"
    safe.recover()
    assert safe.arm.state() is Mode.STOPPED
    safe.home(PANDA_HOME, 0.08)
    safe.start()
    stream(safe, 1.0)


@pytest.mark.slow
@needs_franky_sim
def test_a_server_killed_in_mid_motion_stops_everything(server: FrankyServer, safe: SafeArm) -> None:
    stream(safe, 1.0)
    server.kill()
    with pytest.raises(Stopped):
        stream(safe, 5.0)
    with pytest.raises((Stopped, ArmError)):
        safe.start()
