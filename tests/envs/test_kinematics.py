"""Inverse kinematics: the simulated arm's own forward kinematics agree with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from envs.cube_pick import CubePick
from envs.cube_pick.kinematics import TOOL_DOWN, ArmKinematics

HOME = np.array([0.0, 0.196, 0.0, -2.618, 0.0, 2.942, 0.785])
CUBE_ASIDE = np.array([0.1, 0.1, 0.021, 1.0, 0.0, 0.0, 0.0])


def pose_at(env: CubePick, joints: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """Gripper position (m, base frame) and rotation, as the environment's proprioception has them."""
    proprio = env.set_state(joints, 0.04, CUBE_ASIDE)["proprio"]
    np.testing.assert_allclose(proprio[:8], [*joints, 0.04], atol=1e-6)
    return proprio[8:11], Rotation.from_quat(proprio[11:])


@settings(max_examples=25)
@given(
    st.tuples(st.floats(-0.15, 0.15), st.floats(-0.2, 0.2), st.floats(0.02, 0.3)),
    st.tuples(*[st.floats(-0.15, 0.15)] * 3),
    st.integers(0, 1000),
)
def test_the_gripper_is_where_it_was_asked_to_be(
    cube_pick: CubePick, place: tuple[float, float, float], tilt: tuple[float, float, float], seed: int
) -> None:
    kinematics = ArmKinematics(cube_pick)
    position = np.array(place) - cube_pick.base_position
    rotation = Rotation.from_rotvec(tilt) * Rotation.from_matrix(TOOL_DOWN)
    near = HOME + np.random.default_rng(seed).normal(0.0, 0.1, 7)
    reached, turned = pose_at(cube_pick, kinematics.solve(near, position, rotation.as_matrix()))
    np.testing.assert_allclose(reached, position, atol=1e-3)
    assert (turned.inv() * rotation).magnitude() < 5e-3


def test_where_it_is_already_nothing_moves(cube_pick: CubePick) -> None:
    position, rotation = pose_at(cube_pick, HOME)
    joints = ArmKinematics(cube_pick).solve(HOME, position, rotation.as_matrix())
    np.testing.assert_allclose(joints, HOME, atol=1e-3)


@pytest.mark.parametrize("far", [(3.0, 0.0, 0.5), (0.0, 0.0, 5.0), (-2.0, 2.0, -1.0)])
def test_out_of_reach_it_stays_within_the_joints_limits(
    cube_pick_joint: CubePick, far: tuple[float, float, float]
) -> None:
    joints = ArmKinematics(cube_pick_joint).solve(HOME, np.array(far))
    low, high = cube_pick_joint.action_space.low[:7], cube_pick_joint.action_space.high[:7]
    assert ((low - 1e-3 <= joints) & (joints <= high + 1e-3)).all()
