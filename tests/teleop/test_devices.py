"""The registry of teleop devices: a new one is one file and one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistakes import refusal

from envs.toy import Toy
from s2robot.teleop.device import Event
from s2robot.teleop.devices import DEVICES, TeleopContext, find_kinds, make_device

WHEEL = """
from dataclasses import dataclass

import numpy as np

from s2robot.teleop.device import Command
from s2robot.teleop.devices import DeviceKind


@dataclass(frozen=True)
class WheelOptions:
    view: str
    sensitivity: float = 0.5


class Wheel:
    def __init__(self, view, sensitivity):
        self.invitation, self._motion = f"turn the wheel ({view})", np.full(3, sensitivity)

    def command(self):
        return Command(self._motion)

    def events(self):
        return ["start"]

    def show(self, status, images): ...

    def close(self): ...


KIND = DeviceKind(WheelOptions, lambda options, context: Wheel(options.view, options.sensitivity))
"""


class Options:
    view = "front"
    seed = 3


def test_a_new_device_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steering_wheel.py").write_text(WHEEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(DEVICES, "wheel", "steering_wheel:KIND")
    device = make_device(find_kinds("wheel", supervises=False), Options(), TeleopContext(Toy(image_size=16)))
    assert device.invitation == "turn the wheel (front)"
    assert device.command().motion.tolist() == [0.5, 0.5, 0.5]
    assert list(device.events()) == [Event.START]


def test_every_device_of_the_registry_says_how_it_is_made() -> None:
    for name in DEVICES:
        (kind,) = find_kinds(f"{name}+browser", supervises=name == "terminal")[:1]
        assert kind.make and kind.options


@pytest.mark.parametrize(
    ("teleop", "supervises", "said"),
    [
        ("wheel", False, "unknown teleop device 'wheel': valid: none, browser"),
        ("spacemouse", False, "teleop=spacemouse has too few buttons to discard a take"),
        ("spacemouse+leader", False, "teleop=spacemouse+leader has too few buttons"),
        ("terminal", False, "teleop=terminal cannot steer: join another"),
        ("leader+browser", True, "cannot watch over a checkpoint="),
    ],
)
def test_devices_that_are_not_enough_are_refused(teleop: str, supervises: bool, said: str) -> None:
    assert said in refusal(lambda: find_kinds(teleop, supervises))
