"""Idle steps: found in deltas and in absolute actions, in any unit; masked in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toy_loop
from hypothesis import given
from hypothesis import strategies as st

from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.idle import idle_share, idle_steps
from s2robot.train.demos import mask_idle_steps

DELTAS = RobotSpec({}, ("x",), ("dx", "gripper"), "ee_delta", 10.0, (GripperSpec(1, open=-1, closed=1),))
ABSOLUTE = replace(DELTAS, action=("x", "gripper"), action_space="unknown")
MOVES = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0], bool)


def take(unit: float, tremble: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deltas, absolute actions and proprioception of one take; the gripper closes at step 7."""
    rng = np.random.default_rng(0)
    deltas = unit * (MOVES + tremble * rng.uniform(-1, 1, len(MOVES)))
    gripper = np.where(np.arange(len(MOVES)) < 7, -1.0, 1.0)
    after = np.cumsum(deltas)
    before = np.concatenate([[0], after[:-1]])
    return np.column_stack([deltas, gripper]), np.column_stack([after, gripper]), before[:, None]


@given(unit=st.floats(1e-5, 1e4), tremble=st.floats(0, 0.02))
def test_idle_steps_are_those_without_motion_in_any_unit(unit: float, tremble: float) -> None:
    deltas, absolute, proprio = take(unit, tremble)
    expected = ~MOVES & (np.arange(len(MOVES)) != 7)
    np.testing.assert_array_equal(idle_steps([deltas], [proprio], DELTAS)[0], expected)
    np.testing.assert_array_equal(idle_steps([absolute], [proprio], ABSOLUTE)[0], expected)


def test_a_steady_delta_of_an_unknown_kind_is_not_idle() -> None:
    proprio = np.arange(20.0)[:, None]
    action = np.column_stack([np.ones(20), -np.ones(20)])
    assert idle_share([action], [proprio], ABSOLUTE) < 0.1


@pytest.mark.parametrize("space", [DELTAS, ABSOLUTE])
def test_a_robot_that_is_never_asked_to_move_is_idle(space: RobotSpec) -> None:
    still = np.zeros((9, 2))
    assert idle_share([still], [still[:, :1]], space) == 1.0


def test_masked_idle_steps_are_not_learned() -> None:
    deltas, _, proprio = (a.astype(np.float32) for a in take(0.01))
    episode = toy_loop.made_episode(len(MOVES), action=deltas, proprio=proprio, grippers=DELTAS.grippers)
    (masked,) = mask_idle_steps([episode], DELTAS)
    np.testing.assert_array_equal(masked.action_loss_mask, MOVES | (np.arange(len(MOVES)) == 7))
