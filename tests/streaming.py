"""An arm behind the safety layer that is led along a slow sine, as the tests of the Franka drivers do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from s2robot.robot.arm import ArmCommand
from s2robot.robot.arms.franka import FrankaArm
from s2robot.robot.arms.franky import FrankyArm
from s2robot.robot.arms.models import PANDA_HOME
from s2robot.robot.motion_limits import MotionLimits
from s2robot.robot.safety import SafeArm

RATE = 10.0


@contextmanager
def at_home(arm: FrankaArm | FrankyArm) -> Iterator[SafeArm]:
    """Connected, homed and started; closed at the end."""
    safe = SafeArm(arm, MotionLimits(arm.limits, arm.kinematics, None, RATE, velocity=0.3), RATE)
    safe.connect()
    safe.home(PANDA_HOME, 0.08)
    safe.start()
    try:
        yield safe
    finally:
        safe.close()


def stream(safe: SafeArm, seconds: float, amplitude: float = 0.1, opening: float = 0.08) -> float:
    """Streams the sine (rad) and returns how far the arm was behind, at most (rad)."""
    behind = 0.0
    for step in range(round(seconds * RATE)):
        safe.command(ArmCommand(PANDA_HOME + amplitude * np.sin(step / 10), opening))
        time.sleep(1 / RATE)
        behind = max(behind, float(np.abs(safe.observe().joints - safe.target).max()))
    return behind
