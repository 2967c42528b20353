"""Devices in the hand, as far as there are none: the reports, SDL events and bytes that real ones send."""

from __future__ import annotations

import ctypes
import os
import pty
import struct
import termios
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from hand_clock import HandClock
from mistakes import refusal

from s2robot.core.errors import UserError
from s2robot.teleop.device import Event, Phase, Status, likely, motion_from_view
from s2robot.teleop.gamepad import Gamepad
from s2robot.teleop.spacemouse import SpaceMouse, open_mouse
from s2robot.teleop.terminal import TerminalKeys

# What one button for everything means


def test_the_likely_wish_never_throws_a_take_away() -> None:
    for phase in Phase:
        for success in (False, True):
            assert likely(Status(phase=phase, success=success)) not in (Event.DISCARD, Event.REDO, Event.UNDO)
    assert likely(Status(phase=Phase.REVIEW, success=True)) is Event.KEEP
    assert likely(Status(phase=Phase.REVIEW, success=False)) is None
    assert likely(Status(phase=Phase.STOPPED)) is Event.HOME


def test_the_view_decides_what_right_and_far_mean() -> None:
    assert motion_from_view("robot", across=0.5, along=1.0, lift=0.0).tolist() == [1.0, -0.5, 0.0]
    assert motion_from_view("front", across=0.5, along=1.0, lift=2.0).tolist() == [-1.0, 0.5, 1.0]
    assert "unknown view 'fron': did you mean 'front'?" in refusal(lambda: motion_from_view("fron", 0, 0, 0))


# SpaceMouse


class Hid:
    """A SpaceMouse Compact's HID interface: one report a reading, then none."""

    def __init__(self) -> None:
        self.reports: list[bytes] = []
        self.plugged = True

    def read(self, size: int) -> bytes:
        if not self.plugged:
            from easyhid import HIDException

            raise HIDException("Failed to read from HID device: -1")
        return self.reports.pop(0) if self.reports else b""

    def close(self) -> None:
        self.plugged = False

    def move(self, x: int, y: int, z: int) -> None:
        """Translation as the device counts it: x right, y towards the user, z down; 350 is all the way."""
        self.reports.append(struct.pack("<Bhhh", 1, x, y, z))

    def press(self, *buttons: int) -> None:
        self.reports.append(bytes([3, sum(1 << b for b in buttons), 0]))


@pytest.fixture
def hid() -> Hid:
    return Hid()


def plug_in(hid: Hid) -> Any:
    pyspacemouse = pytest.importorskip("pyspacemouse", reason="needs the extra spacemouse")
    spec = pyspacemouse.get_device_specs()["SpaceMouseCompact"]
    upright = pyspacemouse.apply_axis_convention(spec, pyspacemouse.AxisConvention.HID_Z_UP)
    return pyspacemouse.SpaceMouseDevice(upright, hid)


@pytest.fixture
def mouse(hid: Hid) -> SpaceMouse:
    return SpaceMouse("robot", lambda: plug_in(hid))


def test_the_cap_pushed_away_and_lifted_moves_forward_and_up(mouse: SpaceMouse, hid: Hid) -> None:
    hid.move(0, -350, -175)
    np.testing.assert_allclose(mouse.command().motion, [1.0, 0.0, 0.5])
    np.testing.assert_allclose(mouse.command().motion, [1.0, 0.0, 0.5], err_msg="it is held there")
    hid.move(0, 0, 0)
    assert not mouse.command().moves


def test_the_newest_of_many_reports_counts_and_a_hand_at_rest_does_not(mouse: SpaceMouse, hid: Hid) -> None:
    for x in range(0, 351, 10):
        hid.move(x, 0, 0)
    np.testing.assert_allclose(mouse.command().motion, [0.0, -1.0, 0.0])
    hid.move(20, 0, 10)
    assert not mouse.command().moves


def test_every_press_counts_however_short(mouse: SpaceMouse, hid: Hid) -> None:
    hid.press(0)
    hid.press()
    hid.press(0)
    hid.press(0, 1)
    assert mouse.events() == [Event.GRIPPER, Event.GRIPPER, Event.START]
    assert mouse.events() == []
    mouse.show(Status(phase=Phase.REVIEW, success=False), {})
    hid.press()
    hid.press(1)
    assert mouse.events() == []


def test_an_unplugged_mouse_stops_all_motion_and_may_come_back(hid: Hid) -> None:
    clock, second = HandClock(), Hid()
    mice: list[Any] = [plug_in(hid)]

    def opened() -> Any:
        if not mice:
            raise UserError("no mouse")
        return mice.pop()

    mouse = SpaceMouse("robot", opened, clock)
    hid.move(350, 0, 0)
    assert mouse.command().moves
    hid.plugged = False
    command = mouse.command()
    assert command.absence == "the SpaceMouse is unplugged" and not command.moves
    clock.now += 1.1
    assert mouse.command().absence
    mice.append(plug_in(second))
    assert mouse.command().absence, "it is not looked for at every step"
    clock.now += 1.1
    assert mouse.command().absence is None and not mouse.command().moves
    second.move(0, -350, 0)
    assert mouse.command().moves


def test_no_mouse_is_told_in_one_line() -> None:
    pytest.importorskip("pyspacemouse", reason="needs the extra spacemouse")
    said = refusal(open_mouse)
    assert said.startswith("teleop=spacemouse: ") and "libhidapi-hidraw0" in said


# Gamepad


class VirtualPad:
    """A gamepad that SDL itself makes up. kind: 1 is a gamepad, 0 a joystick that SDL has no mapping of."""

    def __init__(self, kind: int = 1) -> None:
        import pygame

        folder = Path(pygame.__file__).parents[1] / "pygame_ce.libs"
        library = next((p for p in folder.glob("libSDL2-2*") if "image" not in p.name), None)
        if library is None:
            pytest.skip("pygame's SDL is not where its wheels have it")
        self._sdl = ctypes.CDLL(str(library))
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        for name in ("SDL_JoystickSetVirtualAxis", "SDL_JoystickSetVirtualButton", "SDL_JoystickClose"):
            getattr(self._sdl, name).argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16][
                : 1 if name.endswith("Close") else 3
            ]
        self._index = self._sdl.SDL_JoystickAttachVirtual(kind, 6, 15, 0)
        assert self._index >= 0
        self._pad = self._sdl.SDL_JoystickOpen(self._index)

    def axis(self, axis: int, value: float) -> None:
        self._sdl.SDL_JoystickSetVirtualAxis(self._pad, axis, round(32767 * value))

    def button(self, button: int, down: bool) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._pad, button, int(down))

    def unplug(self) -> None:
        self._sdl.SDL_JoystickDetachVirtual(self._index)


@pytest.fixture
def gamepad() -> Iterator[Gamepad]:
    pytest.importorskip("pygame", reason="needs the extra gamepad")
    gamepad = Gamepad("robot")
    yield gamepad
    gamepad.close()


def test_without_a_gamepad_nobody_steers_until_one_is_plugged_in(gamepad: Gamepad) -> None:
    assert gamepad.command().absence == "no gamepad is connected"
    pad = VirtualPad()
    assert gamepad.command().absence is None
    pad.axis(1, -1.0)
    np.testing.assert_allclose(gamepad.command().motion, [0.5, 0, 0], atol=1e-3)
    pad.unplug()
    command = gamepad.command()
    assert command.absence and not command.moves


def test_sticks_move_with_care_near_the_middle(gamepad: Gamepad) -> None:
    pad = VirtualPad()
    pad.axis(0, 0.1)
    assert not gamepad.command().moves
    pad.axis(0, 0.575)  # half of what is beyond the dead zone
    np.testing.assert_allclose(gamepad.command().motion, [0, -0.125, 0], atol=1e-3)
    pad.axis(0, 0.0)
    pad.axis(3, -1.0)
    np.testing.assert_allclose(gamepad.command().motion, [0, 0, 0.5], atol=1e-3)
    pad.button(10, True)  # RB
    np.testing.assert_allclose(gamepad.command().motion, [0, 0, 0.125], atol=1e-3)
    pad.unplug()
    gamepad.command()


def test_buttons_ask_for_what_the_help_says(gamepad: Gamepad) -> None:
    pad = VirtualPad()
    gamepad.command()
    wishes = {
        0: Event.GRIPPER,
        1: Event.DISCARD,
        2: Event.PAUSE,
        3: Event.REDO,
        4: Event.UNDO,
        6: Event.START,
    }
    wishes |= {9: Event.TAKE_OVER, 11: Event.HOME, 12: Event.STOP}
    for button, wish in wishes.items():
        pad.button(button, True)
        assert gamepad.events() == [wish], button
        pad.button(button, False)
        assert gamepad.events() == []
    pad.unplug()
    gamepad.command()


def test_one_gamepad_steers_and_the_others_are_ignored(gamepad: Gamepad) -> None:
    first, second = VirtualPad(), VirtualPad()
    gamepad.command()
    second.axis(1, -1.0)
    second.button(10, True)  # RB: slower
    for button in (0, 6, 12):
        second.button(button, True)
    assert not gamepad.command().moves and gamepad.events() == []
    first.axis(1, -1.0)
    np.testing.assert_allclose(gamepad.command().motion, [0.5, 0, 0], atol=1e-3)
    first.button(12, True)
    assert gamepad.events() == [Event.STOP]
    first.unplug()
    command = gamepad.command()
    assert command.absence == "no gamepad is connected" and not command.moves
    second.axis(1, 0.0)
    assert gamepad.command().absence, "the other does not go on by itself"
    second.button(11, True)
    assert gamepad.events() == [Event.HOME] and gamepad.command().absence is None, (
        "it does once it is pressed"
    )
    second.unplug()
    gamepad.command()


def test_events_of_a_pad_that_was_never_opened_are_ignored(gamepad: Gamepad) -> None:
    import pygame

    pad = VirtualPad()
    gamepad.command()
    pygame.event.post(pygame.event.Event(pygame.CONTROLLERAXISMOTION, instance_id=99, axis=1, value=-32767))
    down = pygame.CONTROLLER_BUTTON_DPAD_DOWN
    pygame.event.post(pygame.event.Event(pygame.CONTROLLERBUTTONDOWN, instance_id=99, button=down))
    assert not gamepad.command().moves and gamepad.events() == []
    pad.unplug()
    gamepad.command()


def test_a_joystick_without_a_mapping_is_named(gamepad: Gamepad, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = VirtualPad(kind=0)
    assert gamepad.command().absence == "no gamepad is connected"
    unknown.unplug()
    gamepad.command()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("gamepad: Virtual ") and "is ignored: SDL has no mapping of it" in line


# Terminal


@pytest.fixture
def terminal() -> Iterator[tuple[TerminalKeys, int, Any]]:
    """Keys on a terminal, the end at which a person types, and what is before them."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as keyboard, open(os.devnull, "w") as screen:
        keys = TerminalKeys(keyboard, screen)
        yield keys, ours, keyboard
        keys.close()
    os.close(ours)


def typed(keys: TerminalKeys, ours: int, text: bytes) -> list[Event]:
    os.write(ours, text)
    for _ in range(1000):
        if events := keys.events():
            return events
    return []


def test_single_keys_are_heard_at_once(terminal: tuple[TerminalKeys, int, Any]) -> None:
    keys, ours, _ = terminal
    assert keys.events() == []
    assert typed(keys, ours, b"\n") == [Event.START]
    assert typed(keys, ours, b" pP") == [Event.GRIPPER, Event.PAUSE, Event.PAUSE]
    assert typed(keys, ours, b"\x7f") == [Event.DISCARD]
    assert typed(keys, ours, b"\x1b") == [Event.STOP]
    assert typed(keys, ours, b"y") == []
    assert not keys.command().moves and keys.command().absence is None


def test_an_arrow_is_no_emergency_stop(terminal: tuple[TerminalKeys, int, Any]) -> None:
    keys, ours, _ = terminal
    assert typed(keys, ours, b"\x1b[A") == []


def test_the_terminal_is_left_as_it_was_and_ctrl_c_works(terminal: tuple[TerminalKeys, int, Any]) -> None:
    keys, _, keyboard = terminal
    flags = termios.tcgetattr(keyboard)[3]
    assert not flags & termios.ICANON and not flags & termios.ECHO
    assert flags & termios.ISIG, "Ctrl-C ends the session"
    keys.close()
    flags = termios.tcgetattr(keyboard)[3]
    assert flags & termios.ICANON and flags & termios.ECHO


def test_without_a_terminal_it_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file:
        said = refusal(lambda: TerminalKeys(file))
    assert said == "teleop=terminal needs a terminal: standard input is none"


# As a user types them


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("browsr", "unknown teleop device 'browsr': did you mean 'browser'?"),
        (
            "spacemouse+joystick",
            "unknown teleop device 'joystick': valid: none, browser, spacemouse, gamepad, phone, leader",
        ),
        ("scripted+browser", "unknown teleop device 'scripted'"),
        pytest.param(
            *("spacemouse+browser", "teleop=spacemouse: "),
            marks=pytest.mark.skipif(not find_spec("pyspacemouse"), reason="needs the extra spacemouse"),
        ),
        ("spacemouse", "teleop=spacemouse has too few buttons to discard a take: join another, for example"),
        ("terminal", "teleop=terminal cannot steer: join another, for example teleop=spacemouse+terminal"),
    ],
)
def test_devices_that_do_not_exist_end_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, device: str, said: str
) -> None:
    options = ("env=toy", f"teleop={device}", f"out={tmp_path / 'demos'}", "port=0")
    assert said in toy_loop.refusal(capsys, "record", *options)


def test_a_store_of_the_scripted_expert_is_not_mixed_with_a_persons(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = toy_loop.record(tmp_path / "demos", 1)
    said = toy_loop.refusal(capsys, "record", "env=toy", "teleop=browser", "port=0", f"out={store}")
    assert f"{store} holds demos recorded with other options" in said
