"""A phone, as far as there is none: the messages of the package's page, over its own server."""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import Any

import numpy as np
import pytest
from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st
from loopback import free_port
from mistakes import refusal

from s2robot.teleop.device import Event, Phase, Status
from s2robot.teleop.phone import Phone, open_phone

STEP = np.full(3, 0.05)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def phone(clock: HandClock) -> Phone:
    return recording(Phone("robot", STEP, clock=clock))


def recording(phone: Phone) -> Phone:
    """The phone of a take that has begun."""
    phone.show(Status(phase=Phase.RECORDING), {})
    hear(phone, (0, 0, 0), move=False)
    phone.command()
    return phone


def hear(phone: Phone, position: tuple[float, float, float], move: bool = True, **more: Any) -> None:
    pose = np.eye(4)
    pose[:3, 3] = position
    phone.hear(pose, {"move": move, **more})


def test_nobody_steers_before_a_phone_is_there() -> None:
    assert Phone("robot", STEP).command().absence == "no phone is connected"


def test_the_gripper_goes_as_far_as_the_phone(phone: Phone) -> None:
    hear(phone, (0.02, -0.01, 0.03))
    np.testing.assert_allclose(phone.command().motion * STEP, [0.02, -0.01, 0.03])
    assert not phone.command().moves, "it has arrived"


def test_a_person_who_faces_the_robot_pushes_towards_it(clock: HandClock) -> None:
    phone = recording(Phone("front", STEP, clock=clock))
    hear(phone, (0.02, -0.01, 0.03))
    np.testing.assert_allclose(phone.command().motion * STEP, [-0.02, 0.01, 0.03])


@given(st.lists(st.tuples(*3 * [st.floats(-0.2, 0.2)]), min_size=1, max_size=10))
def test_what_is_too_far_for_one_step_comes_in_the_next_ones(way: list[tuple[float, float, float]]) -> None:
    clock = HandClock()
    phone = recording(Phone("front", STEP, clock=clock))
    done = np.zeros(3)
    for position in [*way, *30 * way[-1:]]:
        hear(phone, position)
        motion = phone.command().motion
        assert np.abs(motion).max() <= 1
        done += motion * STEP
        clock.now += 0.1
    np.testing.assert_allclose(done, np.array(way[-1]) * [-1, -1, 1], atol=1e-9)


def test_letting_go_stops_at_once_and_the_phone_can_be_brought_back(phone: Phone) -> None:
    hear(phone, (0.5, 0, 0))
    assert phone.command().moves
    hear(phone, (0.5, 0, 0), move=False)
    assert not phone.command().moves
    hear(phone, (0.5, 0, 0))
    assert not phone.command().moves, "nothing is left of the way that was given up"


def test_a_phone_that_falls_silent_stops_within_300_ms_and_is_then_missed(
    phone: Phone, clock: HandClock
) -> None:
    hear(phone, (0.5, 0, 0))
    clock.now += 0.1
    assert phone.command().moves
    clock.now += 0.15
    assert not phone.command().moves
    clock.now += 1.0
    assert phone.command().absence == "the phone has fallen silent"


def test_what_was_waved_during_a_pause_is_no_wish(phone: Phone, clock: HandClock) -> None:
    clock.now += 5.0
    hear(phone, (0.3, 0, 0))
    assert not phone.command().moves


def test_a_pose_that_is_no_number_is_not_followed(phone: Phone) -> None:
    hear(phone, (float("nan"), 0, 0))
    assert not phone.command().moves and phone.command().absence is None


def test_buttons_and_the_gripper_switch(phone: Phone) -> None:
    phone.show(Status(phase=Phase.WAITING), {})
    hear(phone, (0, 0, 0), gripper="open", reservedButtonA=True)
    hear(phone, (0, 0, 0), gripper="open", reservedButtonA=True)
    assert phone.events() == [Event.START], "a button that is held is pressed once"
    phone.show(Status(phase=Phase.RECORDING), {})
    hear(phone, (0, 0, 0), gripper="close", reservedButtonA=True, reservedButtonB=True)
    assert phone.events() == [Event.DISCARD, Event.GRIPPER]
    phone.show(Status(phase=Phase.RECORDING, closed=True), {})
    hear(phone, (0, 0, 0), gripper="close")
    assert phone.events() == []
    phone.show(Status(phase=Phase.RECORDING, closed=False), {})  # another take
    hear(phone, (0, 0, 0), gripper="open")
    assert phone.events() == [], "the switch says what is so already"


# The package itself


def xr_pose(right: float, up: float, back: float, move: bool) -> str:
    """What the package's page sends: WebXR's axes."""
    data = {
        "position": {"x": right, "y": up, "z": back},
        "orientation": {"x": 0, "y": 0, "z": 0, "w": 1},
        "move": move,
        "gripper": "open",
        "scale": 1.0,
        "reservedButtonA": False,
        "reservedButtonB": False,
    }
    return json.dumps({"type": "pose", "data": data})


def test_webxr_messages_over_the_packages_server_move_the_gripper() -> None:
    pytest.importorskip("fastapi", reason="needs the extra phone")
    from websockets.sync.client import connect

    port = free_port()
    phone = open_phone("robot", STEP, port)
    phone.show(Status(phase=Phase.RECORDING), {})
    assert f"tcp:{port}" in phone.invitation
    context = ssl._create_unverified_context()
    deadline = time.monotonic() + 30
    while True:
        try:
            page = connect(f"wss://127.0.0.1:{port}/ws", ssl=context)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    done = np.zeros(3)
    with page:
        page.send(xr_pose(0, 1.0, 0, move=False))
        for way in (0.0, 0.5, *40 * [1.0]):
            page.send(xr_pose(0.01 * way, 1.0 + 0.02 * way, -0.03 * way, move=True))
            time.sleep(0.02)
            done += phone.command().motion * STEP
    np.testing.assert_allclose(done, [0.03, -0.01, 0.02], atol=1e-9)


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    pytest.importorskip("fastapi", reason="needs the extra phone")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(lambda: open_phone("robot", STEP, port))
    assert said == (
        f"cannot serve the phone's page at port {port}: Address already in use; give another phone_port="
    )
