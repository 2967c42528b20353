"""Kinematics of the real arms: against the simulator's own, and against themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s2robot.robot.arms.models import (
    PANDA_HOME,
    panda_kinematics,
    panda_limits,
    so101_kinematics,
    so101_limits,
    xarm6_kinematics,
    xarm6_limits,
)
from s2robot.robot.kinematics import Kinematics, quaternion

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

PANDA, XARM, SO101 = panda_kinematics(), xarm6_kinematics(), so101_kinematics()


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


def test_frames_of_a_model_file_are_its_kinematics() -> None:
    """Our own model of the FR3, as MuJoCo computes it."""
    model = mujoco.MjModel.from_xml_path(str(Path(__file__).parents[1] / "fr3.xml"))
    data, bodies = mujoco.MjData(model), model.jnt_bodyid[:7]
    frames = [(model.body_pos[b], np.roll(model.body_quat[b], -1)) for b in bodies]
    kinematics = Kinematics.from_frames(frames, ((0, 0, 0), (0, 0, 0, 1)))
    for joints in np.random.default_rng(2).uniform(-1, 1, (5, 7)):
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        position, rotation = kinematics.pose(joints)
        assert np.allclose(position, data.xpos[bodies[-1]])
        assert np.allclose(rotation, data.xmat[bodies[-1]].reshape(3, 3))


def test_the_so101_reaches_as_far_as_its_links_are_long() -> None:
    limits, rng = so101_limits(), np.random.default_rng(3)
    positions = np.array([SO101.position(rng.uniform(limits.low, limits.high)) for _ in range(500)])
    shoulder = np.array([0.0388353, 0.0, 0.1166])  # on the axis about which it pans, as high as it lifts
    assert 0.38 < np.linalg.norm(positions - shoulder, axis=1).max() < 0.5
    turned = np.array([0.7, 0.3, -0.2, 0.5, 0.1])
    straight = np.append(0.0, turned[1:])
    around = Rotation.from_euler("z", -turned[0]).apply(SO101.position(straight) - shoulder)
    assert np.allclose(around, SO101.position(turned) - shoulder, atol=1e-6)


@given(st.tuples(*[st.floats(-0.03, 0.03)] * 3))
def test_five_joints_keep_the_place_and_not_the_turn(shift: tuple[float, float, float]) -> None:
    joints = np.array([0.0, -1.2, 1.2, 0.8, 0.0])
    position, rotation = SO101.pose(joints)
    found, missed = SO101.solve(joints, position + shift, rotation)
    assert np.allclose(SO101.position(found), position + shift, atol=3e-4) and missed < 3e-3


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
