"""A robot made of fakes, on a clock that the test turns."""

from __future__ import annotations

from typing import Any

from fake_arm import FakeArm, TurnedClock
from fake_camera import FakeCamera

from s2robot.robot.arms.models import PANDA_HOME
from s2robot.robot.env import RobotEnv

BOX = {"x": (0.3, 0.7), "y": (-0.3, 0.3), "z": (0.0, 0.5)}


class FakeRobot(RobotEnv):
    """Its parts stay at hand: `arm`, `eyes`, `clock`."""

    def __init__(self, clock: Any = None, size: int = 16, **options: Any) -> None:
        self.clock = clock or TurnedClock()
        self.arm = FakeArm(self.clock)
        self.eyes = {"front": FakeCamera(self.clock, size), "wrist": FakeCamera(self.clock, size)}
        super().__init__(
            self.arm, self.eyes, list(PANDA_HOME), **({"workspace": BOX, "clock": self.clock} | options)
        )
        self.safe._watch = lambda: None  # type: ignore[method-assign]  # it would live in real time
