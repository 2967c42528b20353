"""No sequence of targets gets a violating one through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import refusal

from s2robot.robot.arms.models import PANDA_HOME, panda_kinematics, panda_limits
from s2robot.robot.motion_limits import MotionLimits, Workspace

KINEMATICS, LIMITS = panda_kinematics(), panda_limits()
BOX = Workspace(x=(0.35, 0.6), y=(-0.15, 0.15), z=(0.02, 0.35))
RATE = 10.0


def motion_limits(workspace: Workspace | None = BOX, **options: float) -> MotionLimits:
    return MotionLimits(LIMITS, KINEMATICS, workspace, RATE, **options)


anywhere = st.lists(st.floats(-4, 4), min_size=7, max_size=7).map(np.array)
nearby = st.lists(st.floats(-0.2, 0.2), min_size=7, max_size=7).map(lambda d: PANDA_HOME + np.array(d))


@settings(max_examples=60)
@given(
    st.lists(st.one_of(anywhere, nearby), min_size=1, max_size=12),
    st.sampled_from([None, BOX]),
    st.floats(0.0, 1.0),
    st.floats(0.1, 1.0),
    st.floats(0.1, 1.0),
)
def test_no_command_violates(
    targets: list[np.ndarray], box: Workspace | None, follows: float, velocity: float, acceleration: float
) -> None:
    kept = motion_limits(box, velocity=velocity, acceleration=acceleration)
    last, step, measured = PANDA_HOME, np.zeros(7), PANDA_HOME
    for target in targets:
        for _ in range(3):
            joints, acted = kept.follow(target, last, step, measured)
            taken = joints - last
            assert (joints >= kept.low).all() and (joints <= kept.high).all()
            assert (np.abs(taken) <= velocity * LIMITS.velocity / RATE + 1e-9).all()
            assert (np.abs(taken - step) <= acceleration * LIMITS.acceleration / RATE**2 + 1e-9).all()
            assert box is None or box.holds(KINEMATICS.position(joints))
            assert acted or np.allclose(joints, target, atol=1e-9), "what is changed is told"
            last, step = joints, taken
            measured = measured + follows * (joints - measured)


@settings(max_examples=20)
@given(nearby)
def test_where_nothing_is_in_the_way_it_arrives(target: np.ndarray) -> None:
    kept = motion_limits(None)
    last, step = PANDA_HOME, np.zeros(7)
    for _ in range(30):
        joints, _ = kept.follow(target, last, step, last)
        last, step = joints, joints - last
    assert np.allclose(last, np.clip(target, kept.low, kept.high), atol=1e-6)


def test_a_target_out_of_the_workspace_comes_near_to_its_wall_and_stays_within() -> None:
    kept, (position, rotation) = motion_limits(), KINEMATICS.pose(PANDA_HOME)
    target, _ = KINEMATICS.solve(PANDA_HOME, np.append(position[:2], -0.1), rotation)
    last, step, acted = PANDA_HOME, np.zeros(7), []
    for _ in range(60):
        joints, acted = kept.follow(target, last, step, last)
        last, step = joints, joints - last
    assert "workspace" in acted
    assert 0.02 <= KINEMATICS.position(last)[2] < 0.05


def test_the_lead_keeps_a_blocked_arm_s_target_near() -> None:
    kept = motion_limits(None, max_target_lead=0.1)
    last, step = PANDA_HOME, np.zeros(7)
    for _ in range(20):
        joints, acted = kept.follow(PANDA_HOME + 1.0, last, step, PANDA_HOME)
        assert "max_target_lead" in acted or "joint_limit" in acted
        last, step = joints, joints - last
    assert np.abs(last - PANDA_HOME).max() <= 0.1 + 1e-9


def test_where_an_arm_cannot_begin_is_told() -> None:
    assert motion_limits().obstacle(PANDA_HOME) is None
    bent = PANDA_HOME.copy()
    bent[3] = -0.1
    assert str(motion_limits().obstacle(bent)).startswith("joint 4 is at -0.100 rad: expected ")
    away = PANDA_HOME.copy()
    away[0] = 1.5
    assert "outside Workspace" in str(motion_limits().obstacle(away))


@pytest.mark.parametrize(
    "options", [{"velocity": 0.0}, {"acceleration": 1.5}, {"max_target_lead": 0.0}, {"margin": -0.1}]
)
def test_options_under_which_nothing_is_safe_are_refused(options: dict[str, float]) -> None:
    assert "expected fractions above 0" in refusal(lambda: motion_limits(**options))


def test_a_margin_without_room_is_refused() -> None:
    assert refusal(lambda: motion_limits(margin=2.0)) == "margin=2.0 rad leaves some joint no room"


@settings(max_examples=60)
@given(
    st.lists(st.floats(-0.15, 0.15), min_size=7, max_size=7).map(np.array),
    st.floats(0.1, 1.0),
    st.floats(0.1, 1.0),
)
def test_from_a_standstill_a_clamped_step_points_where_it_was_to_go(
    wanted: np.ndarray, velocity: float, acceleration: float
) -> None:
    kept = motion_limits(None, velocity=velocity, acceleration=acceleration)
    middle = (kept.low + kept.high) / 2  # far from any joint limit
    joints, acted = kept.follow(middle + wanted, middle, np.zeros(7), middle)
    taken = joints - middle
    if np.linalg.norm(wanted) < 1e-6:
        return
    share = np.linalg.norm(taken) / np.linalg.norm(wanted)
    np.testing.assert_allclose(taken, share * wanted, atol=1e-9)
    assert share > 0
    if acted:
        largest = np.minimum(kept.largest_step, kept.largest_change)
        assert np.isclose(np.abs(taken) / largest, 1.0, atol=1e-6).any(), "as far as it may go"
