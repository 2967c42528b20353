"""Real time, on a clock that the tests turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.toy import Toy
from s2robot.teleop.rate import RealTime
from s2robot.utils.rate import ControlRate


class Time:
    """Passes only where somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def run(control_rate: ControlRate, time: Time, work: list[float]) -> list[float]:
    """When each step began, for steps that take these times."""
    begun = []
    for seconds in work:
        control_rate.wait()
        begun.append(control_rate.now())
        time.pass_by(seconds)
    return begun


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def control_rate(time: Time) -> ControlRate:
    return ControlRate(10.0, time.clock, time.pass_by)


def test_steps_come_at_the_rate_however_long_each_takes(control_rate: ControlRate, time: Time) -> None:
    assert run(control_rate, time, [0.03, 0.0, 0.099, 0.05]) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert control_rate.overruns == 0
    assert control_rate.achieved() == pytest.approx(10)
    assert control_rate.jitter() == pytest.approx(0, abs=1e-9)


def test_a_step_that_takes_too_long_is_told_and_not_caught_up(control_rate: ControlRate, time: Time) -> None:
    assert run(control_rate, time, [0.05, 0.35, 0.01, 0.01]) == pytest.approx([0.0, 0.1, 0.45, 0.55])
    assert control_rate.overruns == 1
    assert control_rate.achieved() == pytest.approx(3 / 0.55)
    assert control_rate.jitter() == pytest.approx(np.std([0.1, 0.35, 0.1]))


def test_a_loop_that_is_always_late_says_so(control_rate: ControlRate, time: Time) -> None:
    run(control_rate, time, [0.2] * 11)
    assert control_rate.overruns == 10
    assert control_rate.attributes() == {
        "rate": 10.0,
        "achieved_rate": pytest.approx(5.0),
        "jitter": pytest.approx(0.0, abs=1e-9),
        "overruns": 10,
        "pauses": [],
    }


def test_a_pause_is_no_part_of_the_time(control_rate: ControlRate, time: Time) -> None:
    run(control_rate, time, [0.02, 0.02])
    with control_rate.paused():
        time.pass_by(7.0)
    begun = run(control_rate, time, [0.02, 0.02])
    assert begun == pytest.approx([0.12, 0.22])
    assert control_rate.attributes()["pauses"] == pytest.approx([7.0])
    assert control_rate.achieved() == pytest.approx(10)
    assert control_rate.overruns == 0


def test_before_the_second_step_nothing_is_measured(control_rate: ControlRate, time: Time) -> None:
    run(control_rate, time, [0.02])
    assert control_rate.achieved() is None and control_rate.jitter() is None


@given(st.lists(st.floats(0.0, 0.5), min_size=2, max_size=30))
def test_no_two_steps_come_closer_than_a_period(work: list[float]) -> None:
    time = Time()
    begun = run(ControlRate(10.0, time.clock, time.pass_by), time, work)
    assert min(np.diff(begun)) >= 0.1 * 0.95 - 1e-9


def test_an_environment_in_real_time_has_measured_times_and_the_persons_limit(time: Time) -> None:
    control_rate = ControlRate(10.0, time.clock, time.pass_by)
    env = RealTime(Toy(image_size=16, max_steps=2), control_rate, limit=4)
    _, info = env.reset(seed=0)
    assert info["time"] == 0.0
    control_rate.start()
    times, ends = [], []
    for _ in range(4):
        control_rate.wait()
        time.pass_by(0.03)
        _, _, _, truncated, info = env.step(np.zeros(4, np.float32))
        times.append(info["time"])
        ends.append(truncated)
    assert times == pytest.approx([0.03, 0.13, 0.23, 0.33])
    assert ends == [False, False, False, True]
