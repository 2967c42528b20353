"""What the control loop gets from a device: the motion of now, each wish once, and nothing from nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal

from s2robot.teleop.browser import GONE, SILENCE, BrowserDevice
from s2robot.teleop.device import (
    ALLOWED,
    Command,
    Event,
    Images,
    Phase,
    Status,
    Together,
    plain_status,
    require,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def device(clock: HandClock) -> BrowserDevice:
    device = BrowserDevice(clock=clock)
    device.connect()
    return device


def move(device: BrowserDevice, *motion: float, focused: bool = True, page: int = 1) -> None:
    device.hear(page, {"motion": list(motion), "focused": focused})


# The page's motion


def test_a_held_key_moves_until_it_is_released(device: BrowserDevice) -> None:
    move(device, 0.5, 0, 0)
    for _ in range(3):
        assert device.command().motion.tolist() == [0.5, 0, 0]
    move(device, 0, 0, 0)
    assert not device.command().moves


def test_where_a_held_mouse_points_is_followed_until_it_is_let_go(
    device: BrowserDevice, clock: HandClock
) -> None:
    for pointer in ([0.25, 1.5], None):
        device.hear(1, {"motion": [0, 0, 0], "focused": True, "pointer": pointer})
        command = device.command()
        assert command.moves == (pointer is not None)
        np.testing.assert_equal(command.pointer, None if pointer is None else [0.25, 1.0])
    device.hear(1, {"motion": [0, 0, 0], "focused": True, "pointer": [0.5, 0.5]})
    clock.now += SILENCE + 0.01
    assert device.command().pointer is None, "nobody is heard"
    with pytest.raises(ValueError, match="expected two finite numbers"):
        device.hear(1, {"motion": [0, 0, 0], "pointer": [0.5, math.nan]})


def test_a_tap_between_two_steps_counts_once(device: BrowserDevice) -> None:
    move(device, 0.5, 0, 0)
    move(device, 0, 0, 0)
    assert device.command().motion.tolist() == [0.5, 0, 0]
    assert not device.command().moves


def test_a_tap_beside_a_held_key_counts_too(device: BrowserDevice) -> None:
    move(device, 1, 0, 0)
    device.command()
    move(device, 1, 0, 1)
    move(device, 1, 0, 0)
    assert device.command().motion.tolist() == [1, 0, 1]
    assert device.command().motion.tolist() == [1, 0, 0]


def test_a_released_key_does_not_move_a_step_longer(device: BrowserDevice) -> None:
    """The page repeats what is held: that is no further tap."""
    move(device, 1, 0, 0)
    device.command()
    move(device, 1, 0, 0)
    move(device, 0, 0, 0)
    assert not device.command().moves


def test_silence_stops_all_motion_and_then_means_that_nobody_is_there(
    device: BrowserDevice, clock: HandClock
) -> None:
    assert SILENCE + 0.1 <= 0.3 + 1e-9, "within 300 ms at 10 Hz"
    move(device, 1, 1, 1)
    clock.now += SILENCE - 0.01
    assert device.command().moves
    clock.now += 0.02
    assert not device.command().moves
    assert device.command().absence is None
    clock.now += GONE
    assert device.command().absence == "the page has fallen silent"
    device.hear(1, {"motion": [0, 0, 0], "focused": True})
    assert device.command().absence is None


def test_a_key_held_through_a_silence_does_not_move_before_the_page_says_so_again(
    device: BrowserDevice, clock: HandClock
) -> None:
    move(device, 1, 0, 0)
    clock.now += 0.5
    assert not device.command().moves
    device.hear(1, {"event": "pause"})
    assert not device.command().moves


def test_without_the_focus_nobody_steers(device: BrowserDevice) -> None:
    move(device, 1, 0, 0)
    move(device, 1, 0, 0, focused=False)
    command = device.command()
    assert command.absence == "the page has lost the focus"
    assert not command.moves


def test_without_a_page_nobody_steers(device: BrowserDevice) -> None:
    move(device, 1, 0, 0)
    device.disconnect(1)
    command = device.command()
    assert command.absence == "no page is connected"
    assert not command.moves


def test_a_second_page_moves_nothing_until_it_asks_to_steer(device: BrowserDevice) -> None:
    move(device, 1, 0, 0)
    second = device.connect()
    move(device, 0, 1, 0, page=second)
    device.hear(second, {"event": "keep"})
    assert device.command().motion.tolist() == [1, 0, 0] and device.events() == []
    device.hear(second, {"steer": True})
    assert device.command().absence == "another window steers now", "a running take pauses"
    command = device.command()
    assert command.absence is None and not command.moves, "what the first page held is let go"
    move(device, 1, 0, 0, page=1)
    device.hear(1, {"event": "keep"})
    move(device, 0, 1, 0, page=second)
    assert device.command().motion.tolist() == [0, 1, 0] and device.events() == []
    device.disconnect(1)
    assert device.command().motion.tolist() == [0, 1, 0]


def test_every_page_s_emergency_stop_is_heard(device: BrowserDevice) -> None:
    second = device.connect()
    device.hear(second, {"event": "stop"})
    assert device.events() == [Event.STOP], "of the one that does not steer yet"
    device.hear(second, {"steer": True})
    device.hear(1, {"event": "stop"})
    assert device.events() == [Event.STOP], "and of the one that does not steer any more"


def test_a_page_that_is_loaded_again_between_two_steps_is_missed(device: BrowserDevice) -> None:
    move(device, 1, 0, 0)
    device.disconnect(1)
    again = device.connect()
    assert device.steers(again)
    assert device.command().absence == "the page was closed or loaded again"
    assert device.command().absence is None and not device.command().moves


def test_where_the_page_that_steers_is_gone_the_other_does(device: BrowserDevice) -> None:
    second = device.connect()
    device.disconnect(1)
    assert device.steers(second) and device.command().absence == "the page was closed or loaded again"
    move(device, 0, 0, 1, page=second)
    assert device.command().moves


def test_a_silent_page_leaves_the_steering_to_the_next(device: BrowserDevice, clock: HandClock) -> None:
    clock.now += GONE + 0.1
    assert device.steers(device.connect())


def test_each_event_is_given_once_and_in_order(device: BrowserDevice) -> None:
    for name in ("start", "gripper", "gripper"):
        device.hear(1, {"event": name})
    assert device.events() == [Event.START, Event.GRIPPER, Event.GRIPPER]
    assert device.events() == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_no_page_moves_faster_than_the_action_space(motion: list[float]) -> None:
    device = BrowserDevice()
    device.connect()
    move(device, *motion)
    assert np.abs(device.command().motion).max() <= 1


@pytest.mark.parametrize(
    "message",
    [
        *(
            {"motion": m, "focused": True}
            for m in ([1, 2], [math.nan, 0, 0], "up", [[0, 0, 0]], None, ["a", 0, 0])
        ),
        *({"event": e} for e in ("dance", None, 3)),
        [],
        7,
    ],
    ids=str,
)
def test_nonsense_is_refused(device: BrowserDevice, message: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        device.hear(1, message)
    assert not device.command().moves


# Several devices, phases, extras


class Fixed:
    """A device that always says the same."""

    def __init__(self, command: Command, events: Sequence[Event] = (), invitation: str = "") -> None:
        self._command, self._events = command, list(events)
        self.invitation = invitation
        self.closed = False

    def command(self) -> Command:
        return self._command

    def events(self) -> list[Event]:
        return self._events

    def show(self, status: Status, images: Images) -> None:
        self.shown = status

    def close(self) -> None:
        self.closed = True


def test_the_first_of_several_devices_steers_and_must_be_there() -> None:
    still, moving = Fixed(Command()), Fixed(Command(np.ones(3)))
    assert Together([still, moving]).command().moves
    assert np.array_equal(Together([Fixed(Command(-np.ones(3))), moving]).command().motion, -np.ones(3))
    gone = Fixed(Command(absence="unplugged"))
    command = Together([gone, moving]).command()
    assert command.absence == "unplugged" and not command.moves
    assert Together([moving, gone]).command().moves


def test_all_of_several_devices_give_events_and_are_shown_the_state() -> None:
    devices = [Fixed(Command(), [Event.START], "one"), Fixed(Command(), [Event.STOP], "two")]
    together = Together(devices)
    assert together.events() == [Event.START, Event.STOP]
    assert together.invitation == "one\ntwo"
    together.show(Status(steps=7), {})
    together.close()
    assert all(device.shown.steps == 7 and device.closed for device in devices)


def test_the_emergency_stop_is_heard_in_every_phase_in_which_something_may_move() -> None:
    assert {phase for phase in Phase if Event.STOP not in ALLOWED[phase]} == {Phase.STOPPED, Phase.FINISHED}
    assert plain_status(Status(phase=Phase.REVIEW))["allowed"] == ["discard", "keep", "redo", "stop"]


def test_a_missing_extra_is_told_in_one_line() -> None:
    said = refusal(lambda: require("spacemouse", "spacemouse", "no_such_module", "json"))
    assert said == 'teleop=spacemouse needs no_such_module: pip install "s2robot[spacemouse]"'
