"""Kinematics of the real arms: against the simulator's own, and against themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s2robot.robot.kinematics import Kinematics, quaternion
from s2robot.robot.models import (
    PANDA_HOME,
    panda_kinematics,
    panda_limits,
    xarm6_kinematics,
    xarm6_limits,
)

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

PANDA, XARM = panda_kinematics(), xarm6_kinematics()


def test_the_panda_s_are_the_simulator_s(cube_pick: CubePick) -> None:
    cube_pick.reset(seed=0)
    rng, limits = np.random.default_rng(0), panda_limits()
    for _ in range(5):
        joints = rng.uniform(limits.low, limits.high)
        proprio = cube_pick.set_state(joints, 0.05, np.array([0, 0, 0.1, 1, 0, 0, 0]))["proprio"]
        position, rotation = PANDA.pose(joints)
        assert np.allclose(position, proprio[8:11], atol=1e-5)
        same = (Rotation.from_quat(proprio[11:]).inv() * Rotation.from_matrix(rotation)).magnitude()
        assert same < 1e-3


def test_the_xarm_reaches_as_far_as_its_data_sheet_says() -> None:
    assert np.allclose(XARM.position(np.zeros(6)), [0.207, 0, 0.112 - 0.172], atol=2e-3)
    rng, limits = np.random.default_rng(1), xarm6_limits()
    reach = max(np.linalg.norm(XARM.position(rng.uniform(limits.low, limits.high))) for _ in range(300))
    assert 0.7 < reach < 1.2


@pytest.mark.parametrize(
    ("kinematics", "joints"), [(PANDA, PANDA_HOME), (XARM, np.array([0, -0.5, -0.9, 0, 1.2, 0]))]
)
def test_the_jacobian_is_the_derivative(kinematics: Kinematics, joints: np.ndarray) -> None:
    jacobian, small = kinematics.jacobian(joints), 1e-6
    at, turned = kinematics.pose(joints)
    for i in range(len(joints)):
        moved = joints.copy()
        moved[i] += small
        there, rotated = kinematics.pose(moved)
        turn = Rotation.from_matrix(rotated @ turned.T).as_rotvec()
        assert np.allclose(np.concatenate([there - at, turn]) / small, jacobian[:, i], atol=1e-4)


@given(st.tuples(*[st.floats(-0.08, 0.08)] * 3))
def test_solving_comes_where_it_was_asked_to(shift: tuple[float, float, float]) -> None:
    position, rotation = PANDA.pose(PANDA_HOME)
    joints, missed = PANDA.solve(PANDA_HOME, position + shift, rotation)
    there, turned = PANDA.pose(joints)
    assert missed < 1e-4
    assert np.allclose(there, position + shift, atol=1e-4) and np.allclose(turned, rotation, atol=1e-4)


def test_out_of_reach_is_told() -> None:
    position, rotation = PANDA.pose(PANDA_HOME)
    _, missed = PANDA.solve(PANDA_HOME, position + np.array([1.0, 0, 0]), rotation)
    assert missed > 0.1


@given(st.tuples(*[st.floats(-3, 3)] * 3))
def test_quaternions_keep_to_the_half_space_of_a_gripper_that_points_down(vector: tuple) -> None:
    rotation = Rotation.from_rotvec(vector)
    q = quaternion(rotation.as_matrix())
    assert q[0] >= 0 and (Rotation.from_quat(q).inv() * rotation).magnitude() < 1e-6
