"""The safety layer: what it refuses, when it stops, and that nothing but `recover` clears a latched stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from fake_arm import FakeArm, TurnedClock
from hypothesis import given, settings
from hypothesis import strategies as st

from s2robot.robot.arm import ArmCommand, Mode
from s2robot.robot.arms.models import PANDA_HOME
from s2robot.robot.clock import Clock
from s2robot.robot.motion_limits import MotionLimits
from s2robot.robot.safety import SafeArm
from s2robot.robot.safety_events import Deadlines, Stopped

RATE = 10.0


class Rig:
    """A started arm on a clock that the test turns; the watchdog looks when `look` is called."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.arm = FakeArm(self.clock)
        self.frames = {"front": self.clock.now()}
        motion_limits = MotionLimits(self.arm.limits, self.arm.kinematics, None, RATE)
        self.safe = SafeArm(self.arm, motion_limits, RATE, self.clock, times=lambda: self.frames)
        self.arm.connect()
        self.safe._mode = Mode.STOPPED  # connected, without the thread, which lives in real time
        self.safe.start()

    def go(
        self, joints: np.ndarray = PANDA_HOME, gripper: float = 0.08, after: float = 0.1, fresh: bool = True
    ):
        self.clock.time += after
        if fresh:
            self.frames["front"] = self.clock.time
        return self.safe.command(ArmCommand(joints, gripper))

    def look(self, after: float) -> None:
        self.clock.time += after
        self.safe._look()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_step_of_a_radian_is_clamped_and_told(rig: Rig) -> None:
    applied = rig.go(PANDA_HOME + 1.0)
    moved = applied.command.joints - PANDA_HOME
    assert 0 < moved.max() < 0.15
    assert {"max_target_lead", "velocity", "acceleration"} <= set(applied.events)
    assert rig.safe.counts["acceleration"] == 1
    assert np.array_equal(rig.arm.sent[-1].joints, applied.command.joints)


bad = st.sampled_from([np.nan, np.inf, -np.inf])


@settings(max_examples=30)
@given(st.integers(0, 7), bad)
def test_what_is_not_finite_never_reaches_the_arm(place: int, value: float) -> None:
    rig = Rig()
    rig.go()
    joints, gripper = PANDA_HOME.copy(), 0.08
    if place < 7:
        joints[place] = value
    else:
        gripper = value
    applied = rig.go(joints, gripper)
    assert applied.events == ("not_finite",) and len(rig.arm.sent) == 1
    assert np.array_equal(applied.command.joints, PANDA_HOME), "the last command holds"


@pytest.mark.parametrize(
    "joints", [np.zeros(6), np.zeros((7, 1)), 0.0, np.array(["a"] * 7), np.zeros(7, complex)]
)
def test_another_shape_or_type_is_refused(rig: Rig, joints: np.ndarray) -> None:
    assert rig.go(joints).events[0] in ("wrong_shape", "not_finite")
    assert rig.arm.sent == []


def test_refused_commands_do_not_feed_the_watchdog(rig: Rig) -> None:
    rig.go()
    for _ in range(3):
        rig.go(np.full(7, np.nan))
    with pytest.raises(Stopped, match="watchdog: no command for 0.40 s"):
        rig.go()
    assert rig.arm.mode is Mode.STOPPED


def test_two_commands_at_once_are_no_double_step(rig: Rig) -> None:
    rig.go()
    assert rig.go(after=0.01).events == ("too_soon",)
    assert rig.go(after=0.06).events == ()


def test_the_gripper_keeps_to_its_opening(rig: Rig) -> None:
    applied = rig.go(gripper=0.2)
    assert applied.command.gripper == rig.arm.limits.opening and applied.events == ("gripper",)


def test_silence_stops_the_arm_until_it_is_started_again(rig: Rig) -> None:
    rig.go()
    rig.frames["front"] = rig.clock.time + 0.25
    rig.look(0.29)
    assert rig.safe.state() is Mode.READY
    rig.look(0.02)
    assert rig.safe.state() is Mode.STOPPED and rig.arm.mode is Mode.STOPPED
    assert rig.safe.counts["watchdog"] == 1
    with pytest.raises(Stopped, match="watchdog: no command for 0.31 s"):
        rig.go()
    rig.frames["front"] = rig.clock.time
    rig.safe.start()
    assert rig.go().events == ()


def test_before_the_first_command_nobody_is_late(rig: Rig) -> None:
    rig.look(5.0)
    assert rig.safe.state() is Mode.READY


def test_a_frozen_camera_stops(rig: Rig) -> None:
    rig.go()
    rig.go(fresh=False)
    rig.go(fresh=False)
    with pytest.raises(Stopped, match="stale: camera front is 0.30 s old"):
        rig.go(fresh=False)
    assert rig.safe.counts["stale"] == 1 and rig.arm.mode is Mode.STOPPED


def test_the_watchdog_sees_a_frozen_camera_too(rig: Rig) -> None:
    rig.go()
    rig.look(0.21)
    assert rig.safe.state() is Mode.STOPPED and "camera front" in rig.safe.reason


def test_a_stale_state_stops(rig: Rig) -> None:
    rig.go()
    rig.arm.frozen = rig.clock.time
    rig.go()
    rig.go()
    with pytest.raises(Stopped, match="the arm's state is 0.30 s old"):
        rig.go()


def test_a_measurement_from_the_future_is_no_fresh_one(rig: Rig) -> None:
    rig.frames["front"] = rig.clock.time + 10
    with pytest.raises(Stopped, match="camera front is -9"):
        rig.go(fresh=False)


@pytest.mark.parametrize("jump", [-50.0, 50.0])
def test_a_clock_that_jumps_stops(rig: Rig, jump: float) -> None:
    rig.go()
    with pytest.raises(Stopped, match="clock|watchdog"):
        rig.go(PANDA_HOME + 1.0, after=jump)
    assert len(rig.arm.sent) == 1


def test_an_emergency_stop_is_cleared_by_recover_alone(rig: Rig) -> None:
    rig.go()
    rig.safe.estop()
    assert rig.arm.mode is Mode.ESTOP
    for attempt in (rig.go, rig.safe.start, lambda: rig.safe.home(PANDA_HOME, 0.08)):
        with pytest.raises(Stopped, match="emergency stop"):
            attempt()
    rig.safe.stop()
    assert rig.safe.state() is Mode.ESTOP, "a plain stop does not weaken it"
    rig.safe.recover()
    assert rig.safe.state() is Mode.STOPPED
    rig.safe.start()
    assert rig.go().events == ()


def test_an_emergency_stop_during_recover_holds(rig: Rig) -> None:
    rig.safe.estop()
    recover = rig.arm.recover

    def pressed_again() -> None:
        recover()
        rig.safe.estop("again")

    rig.arm.recover = pressed_again  # type: ignore[method-assign]
    rig.safe.recover()
    assert rig.safe.state() is Mode.ESTOP


def test_an_emergency_stop_while_a_command_hangs(rig: Rig) -> None:
    rig.go()
    rig.arm.hangs = threading.Event()
    thread = threading.Thread(target=rig.go, daemon=True)
    thread.start()
    while not rig.safe._lock._is_owned() and thread.is_alive() and rig.safe._lock.acquire(blocking=False):  # type: ignore[attr-defined]
        rig.safe._lock.release()
        time.sleep(0.001)
    rig.safe.estop()  # returns at once
    assert rig.arm.mode is Mode.ESTOP
    rig.arm.hangs.set()
    thread.join(5)
    assert rig.safe.state() is Mode.ESTOP


def test_a_reflex_is_not_cleared_by_itself(rig: Rig) -> None:
    rig.go()
    rig.arm.fault = "cartesian_reflex"
    with pytest.raises(Stopped, match="reflex: cartesian_reflex"):
        rig.go()
    rig.arm.fault = None
    for attempt in (rig.go, rig.safe.start):
        with pytest.raises(Stopped, match="reflex: cartesian_reflex"):
            attempt()
    rig.safe.recover()
    rig.safe.start()
    assert rig.safe.counts["reflex"] == 1


def test_a_lost_arm_stops(rig: Rig) -> None:
    rig.go()
    rig.arm.lost = True
    with pytest.raises(Stopped, match="arm lost: connection reset"):
        rig.go()
    assert rig.safe.counts["arm_lost"] == 1 and rig.arm.stops >= 1


def test_an_arm_that_measures_nonsense_stops(rig: Rig) -> None:
    rig.go()
    rig.arm.joints[2] = np.nan
    with pytest.raises(Stopped, match="not finite"):
        rig.go()


def test_an_arm_that_does_not_follow_is_stopped_or_not_pressed(rig: Rig) -> None:
    rig.arm.follows = False
    for _ in range(30):
        rig.go(PANDA_HOME + 0.9)
    assert np.abs(rig.arm.sent[-1].joints - PANDA_HOME).max() <= rig.safe.motion_limits.max_target_lead + 1e-9


def test_outside_its_limits_an_arm_does_not_start(rig: Rig) -> None:
    rig.safe.stop()
    rig.arm.joints[3] = -0.01
    rig.frames["front"] = rig.clock.time
    with pytest.raises(Stopped, match="joint 4 is at -0.010 rad"):
        rig.safe.start()


@pytest.fixture
def live() -> Iterator[tuple[FakeArm, SafeArm]]:
    """In real time, with the watchdog's thread."""
    clock = Clock()
    arm = FakeArm(clock)
    motion_limits = MotionLimits(arm.limits, arm.kinematics, None, RATE)
    safe = SafeArm(arm, motion_limits, RATE, clock, Deadlines(command=0.1))
    safe.connect()
    safe.start()
    yield arm, safe
    safe.close()


def waits_for(condition, seconds: float = 20.0) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_the_watchdog_s_thread_stops_an_arm_that_is_left_alone(live: tuple[FakeArm, SafeArm]) -> None:
    arm, safe = live
    safe.command(ArmCommand(PANDA_HOME, 0.08))
    assert waits_for(lambda: arm.mode is Mode.STOPPED)
    assert safe.counts["watchdog"] == 1


def test_the_watchdog_s_thread_stops_an_arm_whose_driver_hangs(live: tuple[FakeArm, SafeArm]) -> None:
    arm, safe = live
    safe.command(ArmCommand(PANDA_HOME, 0.08))
    arm.hangs = threading.Event()
    caller = threading.Thread(target=lambda: safe.command(ArmCommand(PANDA_HOME, 0.08)), daemon=True)
    caller.start()
    try:
        assert waits_for(lambda: arm.mode is Mode.STOPPED)
    finally:
        arm.hangs.set()
        caller.join(5)
