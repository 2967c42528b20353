"""The recording page in a real browser, and a person who presses its keys."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import demos

ROOT = Path(demos.__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# As the front camera, which faces the robot, shows them: the keys of -x, +x, -y, +y, -z, +z.
KEYS = (("KeyW", "KeyS"), ("KeyA", "KeyD"), ("KeyQ", "KeyE"))
PATIENCE = 300_000  # ms: a busy machine is no failure


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def session(out: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`s2robot record teleop=browser` in a process of its own, and the address of its page."""
    command = [
        sys.executable,
        "-m",
        "s2robot.cli",
        "record",
        "teleop=browser",
        "port=0",
        f"out={out}",
        *options,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line + process.communicate()[1]
        yield process, address[0].rstrip(";")
    finally:
        process.kill()
        process.communicate()


def until(page: Any, true: Callable[[], bool]) -> None:
    """Waits until the page has made something true."""
    for _ in range(PATIENCE // 10):
        if true():
            return
        page.wait_for_timeout(10)
    pytest.fail("the page did not bring it about")


class Operator:
    """Somebody at the page: looks at what it shows, presses its keys.

    Args:
        position: where among the values of the robot's state x, y, z of the gripper are.
    """

    def __init__(self, page: Any, address: str, position: slice = slice(0, 3)) -> None:
        self.page, self._position = page, position
        page.set_default_timeout(PATIENCE)
        page.goto(address)

    def wait_for(self, phase: str) -> None:
        self.page.wait_for_selector(f"body[data-phase={phase}]")

    def message(self) -> str:
        return self.page.text_content("#message")

    def steps(self) -> int:
        return int(self.page.inner_text("#steps"))

    def gripper(self) -> list[float]:
        """x, y, z (m) as the page shows them."""
        return [float(text) for text in self.page.locator("#proprio dd").all_text_contents()[self._position]]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def go(self, target: Sequence[float], axes: Sequence[int], near: float, tolerance: float) -> None:
        """Holds the keys towards a target (m) until `near`, then taps them until within `tolerance`."""
        held: set[str] = set()
        while wanted := self._keys(target, axes, near):
            for key in held - wanted:
                self.page.keyboard.up(key)
            for key in wanted - held:
                self.page.keyboard.down(key)
            held = wanted
            self.page.wait_for_timeout(20)
        for key in held:
            self.page.keyboard.up(key)
        self.rest(2)
        self.page.keyboard.down("Shift")
        while wanted := self._keys(target, axes, tolerance):
            self.press(*wanted)
            self.rest(2)
        self.page.keyboard.up("Shift")

    def rest(self, steps: int) -> None:
        """Lets control steps pass without a key."""
        end = self.steps() + steps
        until(self.page, lambda: self.steps() >= end)

    def _keys(self, target: Sequence[float], axes: Sequence[int], tolerance: float) -> set[str]:
        gripper = self.gripper()
        errors = {axis: target[axis] - gripper[axis] for axis in axes}
        return {KEYS[axis][error > 0] for axis, error in errors.items() if abs(error) > tolerance}

    def pick_up(self, cube: Sequence[float], near: float, tolerance: float, closing: int) -> None:
        """One take from `start` to success; `closing` steps are waited for the fingers."""
        self.press("Enter")
        self.wait_for("recording")
        self.go(cube, (0, 1), near, tolerance)
        self.go(cube, (2,), near, tolerance)
        self.press("Space")
        self.rest(closing)
        self.page.keyboard.down("KeyE")
        self.wait_for("review")
        self.page.keyboard.up("KeyE")
