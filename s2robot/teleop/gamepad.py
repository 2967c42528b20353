"""`teleop=gamepad`: a gamepad at this machine, without a browser, as SDL knows it (through pygame)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.teleop.device import Command, Event, Images, Status, likely, motion_from_view, require
from s2robot.teleop.devices import DeviceKind

_DEAD = 0.15  # of the full deflection: a stick at rest
_FULL = 32767  # an axis at its end
_SPEED, _SLOW = 0.5, 0.25  # of full speed, and of that while RB is held: as the page begins


class Gamepad:
    """Sticks move, buttons press, as on the page: its help lists them.

    One gamepad steers: the first there is. Where it is unplugged, it is the next that is plugged in, or of
    those that are there the one whose button is pressed. All others are ignored.

    Raises UserError where the extra is missing. A gamepad may be plugged in at any time.

    Args:
        view: whose right and whose far side count, see `motion_from_view`.
    """

    invitation = (
        "gamepad: left stick over the table, right stick and triggers up and down; A gripper; "
        "Start: start, go on, keep a success; B discard; Y redo; X pause; Back undo the last demo; "
        "LB take over; RB slower; D-pad up home, down emergency stop"
    )

    def __init__(self, view: str = "front") -> None:
        require("gamepad", "gamepad", "pygame")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # a gamepad needs no window, but SDL does
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        import pygame  # pyright: ignore[reportMissingImports]
        from pygame._sdl2 import controller  # pyright: ignore[reportMissingImports]

        pygame.display.init()
        controller.init()
        self._pygame, self._controller = pygame, controller
        self._view = view
        self._pads: dict[int, Any] = {}  # all there are, by the number of their events
        self._steering: int | None = None  # the number of the one that steers
        self._axes: dict[int, float] = {}
        self._slow = False
        self._events: list[Event] = []
        self._status = Status()
        self._wishes = {
            pygame.CONTROLLER_BUTTON_A: Event.GRIPPER,
            pygame.CONTROLLER_BUTTON_B: Event.DISCARD,
            pygame.CONTROLLER_BUTTON_X: Event.PAUSE,
            pygame.CONTROLLER_BUTTON_Y: Event.REDO,
            pygame.CONTROLLER_BUTTON_BACK: Event.UNDO,
            pygame.CONTROLLER_BUTTON_LEFTSHOULDER: Event.TAKE_OVER,
            pygame.CONTROLLER_BUTTON_DPAD_UP: Event.HOME,
            pygame.CONTROLLER_BUTTON_DPAD_DOWN: Event.STOP,
        }

    def command(self) -> Command:
        self._hear()
        if self._steering is None:
            return Command(absence="no gamepad is connected")
        p, axes = self._pygame, self._axes
        lift = axes.get(p.CONTROLLER_AXIS_TRIGGERRIGHT, 0.0) - axes.get(p.CONTROLLER_AXIS_TRIGGERLEFT, 0.0)
        wish = (
            _curved(axes.get(p.CONTROLLER_AXIS_LEFTX, 0.0)),
            -_curved(axes.get(p.CONTROLLER_AXIS_LEFTY, 0.0)),
            _curved(lift) - _curved(axes.get(p.CONTROLLER_AXIS_RIGHTY, 0.0)),
        )
        return Command(motion_from_view(self._view, *wish) * _SPEED * (_SLOW if self._slow else 1.0))

    def events(self) -> list[Event]:
        self._hear()
        events, self._events = self._events, []
        return events

    def show(self, status: Status, images: Images) -> None:
        self._status = status

    def close(self) -> None:
        self._controller.quit()
        self._pygame.display.quit()

    def _hear(self) -> None:
        p = self._pygame
        for event in p.event.get():
            if event.type == p.CONTROLLERDEVICEADDED:
                pad = self._controller.Controller(event.device_index)
                number = pad.as_joystick().get_instance_id()  # its `id` is a place that the next one may get
                self._pads[number] = pad
                self._choose(number)
            elif event.type == p.JOYDEVICEADDED and not self._controller.is_controller(event.device_index):
                self._name_unusable(event.device_index)
            elif event.type == p.CONTROLLERDEVICEREMOVED:
                self._lose(event.instance_id)
            elif event.type == p.CONTROLLERAXISMOTION and event.instance_id == self._steering:
                self._axes[event.axis] = event.value / _FULL
            elif event.type in (p.CONTROLLERBUTTONDOWN, p.CONTROLLERBUTTONUP):
                down = event.type == p.CONTROLLERBUTTONDOWN
                if down and event.instance_id in self._pads:
                    self._choose(event.instance_id)
                if event.instance_id == self._steering:
                    self._press(event.button, down)

    def _choose(self, number: int) -> None:
        """Has this pad steer, unless another does."""
        if self._steering is None:
            self._steering = number
            print(f"gamepad: {self._pads[number].name} steers", flush=True)

    def _lose(self, number: int) -> None:
        self._pads.pop(number, None)
        if number == self._steering:
            self._steering, self._slow = None, False
            self._axes.clear()

    def _name_unusable(self, index: int) -> None:
        """A joystick whose sticks and buttons SDL cannot tell apart."""
        self._pygame.joystick.init()
        name = self._pygame.joystick.Joystick(index).get_name()
        print(f"gamepad: {name} is ignored: SDL has no mapping of it (SDL_GAMECONTROLLERCONFIG)", flush=True)

    def _press(self, button: int, down: bool) -> None:
        if button == self._pygame.CONTROLLER_BUTTON_RIGHTSHOULDER:
            self._slow = down
        elif down:
            starts = button == self._pygame.CONTROLLER_BUTTON_START
            wish = likely(self._status) if starts else self._wishes.get(button)
            self._events += [wish] if wish else []


def _curved(value: float) -> float:
    """Nothing near rest, then gently more: small corrections need a fine stick."""
    beyond = max(0.0, (abs(value) - _DEAD) / (1.0 - _DEAD))
    return float(np.sign(value)) * beyond**2


@dataclass(frozen=True)
class GamepadOptions:
    """The options of `teleop=gamepad`."""

    view: str


KIND = DeviceKind(GamepadOptions, lambda options, _: Gamepad(options.view))
