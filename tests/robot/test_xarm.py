"""The xArm's driver over its own wire, against an emulator of the control box."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("xarm")

from mistakes import refusal
from xarm_emulator import XArmEmulator, emulated

from s2robot.robot.arm import ArmCommand, ArmError, Mode
from s2robot.robot.arms.xarm import XArm
from s2robot.robot.motion_limits import MotionLimits
from s2robot.robot.safety import SafeArm
from s2robot.robot.safety_events import Deadlines, Stopped

AT = np.array([0.0, -0.5, -0.8, 0.0, 1.3, 0.0])


@pytest.fixture
def box() -> Iterator[XArmEmulator]:
    with emulated() as emulator:
        yield emulator


@pytest.fixture
def arm(box: XArmEmulator) -> Iterator[XArm]:
    arm = XArm("127.0.0.1", gripper=False)
    arm.connect()
    yield arm
    box.silent = False
    arm.close()


def test_the_sockets_of_others_keep_their_timeout(arm: XArm) -> None:
    assert socket.getdefaulttimeout() is None


def waits_for(condition, seconds: float = 20.0) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_it_is_enabled_in_servo_mode_and_tells_its_joints(box: XArmEmulator, arm: XArm) -> None:
    state = arm.observe()
    assert np.allclose(state.joints, AT, atol=1e-5) and state.fault is None
    arm.resume()
    assert (box.enabled, box.mode, box.state) == (True, 1, 0)


def test_a_target_is_reached_in_small_steps(box: XArmEmulator, arm: XArm) -> None:
    arm.resume()
    arm.command(ArmCommand(AT + 0.1, 0.0))
    assert waits_for(lambda: len(box.targets) >= 10)
    sent = np.array(box.targets)[:, :6]
    assert np.allclose(sent[-1], AT + 0.1, atol=1e-5)
    assert np.abs(np.diff(sent, axis=0)).max() < 0.011, "a tenth of the way each"


def test_stopped_it_ignores_commands_until_it_is_resumed(box: XArmEmulator, arm: XArm) -> None:
    arm.resume()
    arm.stop()
    arm.command(ArmCommand(AT + 0.1, 0.0))
    time.sleep(0.1)
    assert box.targets == []
    arm.resume()
    arm.command(ArmCommand(AT + 0.1, 0.0))
    assert waits_for(lambda: len(box.targets) >= 10)


def test_an_emergency_stop_reaches_the_box(box: XArmEmulator, arm: XArm) -> None:
    arm.resume()
    arm.estop()
    assert box.state == 4 and arm.state() is Mode.ESTOP
    with pytest.raises(ArmError, match="emergency stop: only recover"):
        arm.resume()
    assert box.state == 4
    arm.recover()
    arm.resume()
    assert box.state == 0 and arm.state() is Mode.READY


def test_an_emergency_stop_while_it_resumes_wins(
    box: XArmEmulator, arm: XArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = arm._api.set_state

    def stopped_then_started(state: int) -> int:
        if state == 0:
            monkeypatch.undo()
            arm.estop()
        return start(state)

    monkeypatch.setattr(arm._api, "set_state", stopped_then_started)
    with pytest.raises(ArmError, match="emergency stop"):
        arm.resume()
    assert box.state == 4 and arm.state() is Mode.ESTOP


def test_a_fault_is_told_and_cleaned_by_recover_alone(box: XArmEmulator, arm: XArm) -> None:
    safe = SafeArm(
        arm, MotionLimits(arm.limits, arm.kinematics, None, 10.0), 10.0, deadlines=Deadlines(5, 5, 5)
    )
    safe._mode = Mode.STOPPED
    safe.start()
    box.error = 24
    with pytest.raises(Stopped, match="reflex: error C24"):
        safe.command(ArmCommand(AT, 0.0))
    with pytest.raises(Stopped, match="reflex: error C24"):
        safe.start()
    safe.recover()
    assert box.error == 0
    safe.start()
    safe.command(ArmCommand(AT, 0.0))


def test_homing_is_slow_and_arrives(box: XArmEmulator, arm: XArm) -> None:
    arm.resume()
    arm.home(AT + 0.05, 0.0)
    sent = np.array(box.targets)[:, :6]
    assert np.allclose(sent[-1], AT + 0.05, atol=1e-5)
    assert np.abs(np.diff(sent, axis=0)).max() <= 0.3 / 100 + 1e-6


def test_a_box_that_is_cut_off_is_an_error(box: XArmEmulator, arm: XArm) -> None:
    arm.resume()
    box.cut()
    with pytest.raises(ArmError, match="code"):
        for _ in range(5):
            arm.observe()


def test_where_nobody_answers_that_is_told() -> None:
    with emulated() as emulator:
        emulator.hang_up()
        assert refusal(XArm("127.0.0.1").connect).startswith("no xArm at 127.0.0.1: ")
