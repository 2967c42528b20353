"""From the wish to move to an action in the action space of policies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import pytest
from mistakes import refusal

from envs.toy import STEP, Toy
from s2robot.core.spec import GRIPPER_POSITION, GripperSpec, RobotSpec
from s2robot.teleop.device import Command
from s2robot.teleop.steering import JointSteering, PlaneSteering, make_steering, takes_pointer

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

JOINT = RobotSpec(
    {},
    (*(f"joint{i} [rad]" for i in range(1, 8)), "opening [m]", *GRIPPER_POSITION, "qx", "qy", "qz", "qw"),
    (*(f"joint{i} [rad]" for i in range(1, 8)), "gripper [-1 open, 1 close]"),
    "joint",
    10.0,
    (GripperSpec(index=7, open=-1.0, closed=1.0),),
)
FORWARD, STILL = Command(np.array([1.0, 0.0, 0.0])), Command()


def test_a_displacement_is_the_motion_at_the_scale_of_the_action_space() -> None:
    steering = make_steering(Toy(image_size=16))
    action = steering.action({"proprio": np.zeros(4)}, Command(np.array([0.5, -1.0, 0.0])), closed=True)
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, [0.5 * STEP, -STEP, 0.0, 1.0], rtol=1e-6)
    assert steering.action({"proprio": np.zeros(4)}, STILL, closed=False)[3] == -1.0


PLANE = RobotSpec(
    {"top": (96, 96, 3)}, ("x [px]", "y [px]"), ("target x [px]", "target y [px]"), "position", 10.0
)


def test_in_a_plane_it_goes_where_the_mouse_points_and_stays_there() -> None:
    steering = PlaneSteering(np.zeros(2), np.array([512.0, 256.0]), PLANE)
    at = {"proprio": np.array([100.0, 200.0], np.float32)}
    np.testing.assert_allclose(steering.action(at, STILL, False), [100, 200])
    pointing = Command(pointer=np.array([0.25, 1.0]))
    assert pointing.moves
    np.testing.assert_allclose(steering.action(at, pointing, False), [128, 256])
    np.testing.assert_allclose(steering.action(at, STILL, False), [128, 256], err_msg="the button is let go")
    right, up = Command(np.array([0.0, 1.0, 0.0])), Command(np.array([-1.0, 0.0, 0.0]))
    np.testing.assert_allclose(steering.action(at, right, False), [128 + 0.05 * 512, 256])
    np.testing.assert_allclose(steering.action(at, up, False), [128 + 0.05 * 512, 0.95 * 256])
    steering.reset()
    np.testing.assert_allclose(steering.action(at, STILL, False), [100, 200])


def test_only_two_coordinates_that_are_told_are_steered_by_a_mouse() -> None:
    assert takes_pointer(PLANE)
    assert not takes_pointer(JOINT) and not takes_pointer(replace(PLANE, action=("x", "y", "z")))
    assert not takes_pointer(replace(PLANE, proprio=("x",)))


class Shifted:
    """Kinematics in which the first three joints are the gripper's position."""

    def solve(self, joints: np.ndarray, position: np.ndarray) -> np.ndarray:
        return np.concatenate([position, joints[3:]])


def state(gripper: float, joints: float) -> dict[str, np.ndarray]:
    proprio = np.zeros(15, np.float32)
    proprio[:7], proprio[8:11] = joints, gripper
    return {"proprio": proprio}


def test_joints_hold_where_the_motion_ended_however_the_arm_sinks() -> None:
    steering = JointSteering(Shifted(), JOINT)
    moving = steering.action(state(gripper=0.2, joints=1.0), FORWARD, closed=False)
    np.testing.assert_allclose(moving, [0.25, 0.2, 0.2, 1, 1, 1, 1, -1], rtol=1e-6)
    stopped = steering.action(state(0.2, 1.01), STILL, False)
    np.testing.assert_allclose(stopped[:7], 1.01, rtol=1e-6)
    later = steering.action(state(0.2, 0.97), STILL, False)
    np.testing.assert_allclose(later[:7], 1.01, rtol=1e-6)
    steering.reset()
    np.testing.assert_allclose(steering.action(state(0.2, 0.97), STILL, False)[:7], 0.97, rtol=1e-6)


def test_a_leaders_joints_are_the_action_whether_or_not_kinematics_are_known() -> None:
    leader = np.linspace(-1.0, 1.0, 7)
    for kinematics in (Shifted(), None):
        steering = JointSteering(kinematics, JOINT)
        action = steering.action(state(0.2, 1.0), Command(joints=leader), closed=True)
        np.testing.assert_allclose(action, [*leader, 1.0], rtol=1e-6)
        held = steering.action(state(0.2, 0.9), STILL, closed=True)
        np.testing.assert_allclose(held[:7], 0.9, rtol=1e-6)
    said = refusal(lambda: JointSteering(None, JOINT).action(state(0.2, 1.0), FORWARD, False))
    assert said.endswith("steer it joint to joint, with teleop=leader")


def test_the_simulated_arm_goes_where_it_is_steered_in_joint_space(cube_pick_joint: CubePick) -> None:
    env = cube_pick_joint
    observation, _ = env.reset(seed=0, options={"cube": (0.1, 0.1, 0.0)})
    steering = make_steering(env)
    start = observation["proprio"][8:11].copy()
    for _ in range(6):
        observation, *_ = env.step(steering.action(observation, Command(0.5 * FORWARD.motion), closed=False))
    moved = observation["proprio"][8:11] - start
    assert moved[0] > 0.05 and np.abs(moved[1:]).max() < 0.02
    for _ in range(6):
        observation, *_ = env.step(steering.action(observation, STILL, closed=False))
    rested = observation["proprio"][8:11].copy()
    for _ in range(10):
        observation, *_ = env.step(steering.action(observation, STILL, closed=False))
    assert np.abs(observation["proprio"][8:11] - rested).max() < 0.003


def test_an_action_space_that_nobody_can_steer_is_refused() -> None:
    env = Toy(image_size=16)
    env.robot_spec = RobotSpec({}, ("x",), ("torque [Nm]",), "torque", 10.0)
    said = refusal(lambda: make_steering(env))
    assert said.startswith(
        "a person cannot steer Toy with action space torque (torque [Nm]): expected ee_delta"
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_motion_is_within_the_action_space(sign: int) -> None:
    env = Toy(image_size=16)
    env.reset(seed=0)
    action = make_steering(env).action({"proprio": np.zeros(4)}, Command(sign * FORWARD.motion), False)
    *_, info = env.step(action)
    assert np.array_equal(info["action_applied"], action)


def test_a_gripper_is_where_the_spec_says_and_moves_between_its_own_values() -> None:
    env = Toy(image_size=16)
    names = ("gripper [% open]", "dx [m]", "dy [m]", "dz [m]")
    gripper = GripperSpec(index=0, open=100.0, closed=0.0)
    env.robot_spec = RobotSpec({}, ("x",), names, "ee_delta", 10.0, (gripper,))
    env.action_space = gymnasium.spaces.Box(-1.0, np.array([100.0, 0.1, 0.2, 0.3], np.float32))
    steering = make_steering(env)
    moving = steering.action({"proprio": np.zeros(4)}, Command(np.array([1.0, 0.5, -1.0])), closed=False)
    np.testing.assert_allclose(moving, [100.0, 0.1, 0.1, -0.3], rtol=1e-6)
    assert steering.action({"proprio": np.zeros(4)}, STILL, closed=True)[0] == 0.0
