"""Kinds of arms: the public figures of their makers, as the safety layer and the kinematics need them."""

from __future__ import annotations

from math import pi

import numpy as np

from s2robot.robot.arm import ArmLimits
from s2robot.robot.kinematics import Kinematics

PANDA_HOME = np.array([0.0, pi / 16, 0.0, -pi / 2 - pi / 3, 0.0, pi - 0.2, pi / 4])
"""Where the simulated task begins (rad); demos and policies begin there."""


def panda_kinematics(tool: float = 0.2035, turn: float = -3 * pi / 4) -> Kinematics:
    """Franka's Panda and FR3, which share their dimensions.

    Args:
        tool, turn: of the gripper's frame in that of the last joint (m along z, rad about it). The defaults
            are those of the simulated gripper, so that proprioception is the same; the Franka Hand's own tool
            centre is at 0.2104 m.
    """
    right = pi / 2
    table = (
        (0.0, 0.0, 0.333, 0.0),
        (0.0, -right, 0.0, 0.0),
        (0.0, right, 0.316, 0.0),
        (0.0825, right, 0.0, 0.0),
        (-0.0825, -right, 0.384, 0.0),
        (0.0, right, 0.0, 0.0),
        (0.088, right, 0.0, 0.0),
    )
    return Kinematics.from_table(table, (tool, turn))


def panda_limits() -> ArmLimits:
    """Of the Panda, whose joints reach no further than the FR3's here."""
    return ArmLimits(
        low=np.array([-2.7437, -1.7628, -2.8973, -3.0421, -2.8065, 0.5445, -2.8973]),
        high=np.array([2.7437, 1.7628, 2.8973, -0.1518, 2.8065, 3.7525, 2.8973]),
        velocity=np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]),
        acceleration=np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0]),
        opening=0.08,
    )


def xarm6_kinematics(tool: float = 0.172) -> Kinematics:
    """UFACTORY's xArm 6. `tool`: from its flange to between the fingers (m)."""
    right, tilt = pi / 2, 1.3849179
    table = (
        (0.0, 0.0, 0.267, 0.0),
        (0.0, -right, 0.0, -tilt),
        (0.28948866, 0.0, 0.0, tilt),
        (0.0775, -right, 0.3425, 0.0),
        (0.0, right, 0.0, 0.0),
        (0.076, -right, 0.097, 0.0),
    )
    return Kinematics.from_table(table, (tool, 0.0))


def xarm6_limits() -> ArmLimits:
    """Of the xArm 6 with its own gripper."""
    return ArmLimits(
        low=np.array([-2 * pi, -2.059, -3.927, -2 * pi, -1.69297, -2 * pi]),
        high=np.array([2 * pi, 2.0944, 0.19198, 2 * pi, pi, 2 * pi]),
        velocity=np.full(6, pi),
        acceleration=np.full(6, 20.0),
        opening=0.085,
    )


def so101_kinematics() -> Kinematics:
    """TheRobotStudio's SO-101, its angles 0 in the middle of their ranges.

    The figures, and where the gripper's frame is, are those of its public model `so101_new_calib`.
    """
    half = 0.5**0.5
    joints = (
        ((0.0388353, 0.0, 0.0624), (0.0, -1.0, 0.0, 0.0)),
        ((-0.0303992, -0.0182778, -0.0542), (-0.5, -0.5, -0.5, 0.5)),
        ((-0.11257, -0.028, 0.0), (0.0, 0.0, half, half)),
        ((-0.1349, 0.0052, 0.0), (0.0, 0.0, -half, half)),
        ((0.0, -0.0611, 0.0181), (-0.0172091, 0.706897, 0.706897, 0.0172091)),
    )
    return Kinematics.from_frames(joints, ((-0.0079, -0.0002181, -0.0981274), (0.0, half, 0.0, half)))


def so101_limits() -> ArmLimits:
    """Of the SO-101 with its six STS3215 servos, of which the last is the gripper."""
    return ArmLimits(
        low=np.array([-1.91986, -1.74533, -1.69, -1.65806, -2.74385]),
        high=np.array([1.91986, 1.74533, 1.69, 1.65806, 2.8412]),
        velocity=np.full(5, 3.0),
        acceleration=np.full(5, 20.0),
        opening=0.07,
    )
