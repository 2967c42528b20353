"""A real arm is an environment like the simulated one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mistakes import refusal
from robots import FakeRobot

from s2robot.robot.arms.models import PANDA_HOME

if TYPE_CHECKING:
    from envs.cube_pick import CubePick


@pytest.fixture
def robot() -> Iterator[FakeRobot]:
    env = FakeRobot()
    yield env
    env.close()


def forward(env: FakeRobot, dx: float = 0.0, dz: float = 0.0, gripper: float = -1.0):
    return env.step(np.array([dx, 0.0, dz, gripper], np.float32))


def test_its_contract_is_the_simulator_s(cube_pick: CubePick, cube_pick_joint: CubePick) -> None:
    assert FakeRobot().robot_spec.difference(cube_pick.robot_spec) is None
    joint = FakeRobot(action_space="joint").robot_spec
    assert joint.difference(cube_pick_joint.robot_spec) is None


@pytest.mark.parametrize("action_space", ["ee_delta", "joint"])
def test_what_it_tells_lies_in_its_spaces(action_space: str) -> None:
    env = FakeRobot(action_space=action_space)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation) and info["success"] is False
    still = np.append(np.zeros(3) if action_space == "ee_delta" else PANDA_HOME, -1).astype(np.float32)
    observation, reward, terminated, truncated, info = env.step(still)
    assert env.observation_space.contains(observation) and env.action_space.contains(info["action_applied"])
    assert (reward, terminated, truncated, info["stopped"], info["safety"]) == (0.0, False, False, None, ())
    env.close()


def test_an_action_moves_the_gripper_and_takes_one_period(robot: FakeRobot) -> None:
    before, _ = robot.reset(seed=0)
    started = robot.clock.now()
    after, *_, info = forward(robot, dx=0.005, gripper=1.0)
    moved = after["proprio"][8:11] - before["proprio"][8:11]
    assert np.allclose(moved, [0.005, 0, 0], atol=2e-4)
    assert np.allclose(info["action_applied"], [*moved, 1.0], atol=1e-5)
    assert after["proprio"][7] == 0.0 and before["proprio"][7] == pytest.approx(0.08)
    assert robot.clock.now() - started == pytest.approx(0.1, abs=1e-6)
    assert info["time"] == pytest.approx(0.1, abs=1e-6)


def test_times_are_those_of_the_measurements(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    robot.eyes["wrist"].freeze()
    frozen = robot.clock.now()
    observation, *_ = forward(robot)
    times = observation["times"]
    assert times["wrist"] == frozen and times["front"] == times["arm"] == robot.clock.now()


def test_a_displacement_beyond_the_full_scale_is_cut(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    *_, info = forward(robot, dx=5.0)
    assert np.abs(info["action_applied"][:3]).max() <= 0.05 and info["safety"]


@pytest.mark.parametrize(
    "action", [np.full(4, np.nan), np.array([0, 0, 0, np.inf]), np.zeros(3), np.zeros((4, 1))]
)
def test_nonsense_is_refused_and_told(robot: FakeRobot, action: np.ndarray) -> None:
    robot.reset(seed=0)
    forward(robot)
    sent = len(robot.arm.sent)
    *_, truncated, info = robot.step(action)
    assert info["safety"][0] in ("not_finite", "wrong_shape") and not truncated
    assert len(robot.arm.sent) == sent


def test_a_frozen_camera_ends_the_episode(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    robot.eyes["front"].freeze()
    for _ in range(5):
        *_, truncated, info = forward(robot)
        if truncated:
            break
    assert "camera front" in info["stopped"]
    assert np.array_equal(info["action_applied"][:3], np.zeros(3))
    robot.eyes["front"].frozen = None
    robot.reset()
    assert forward(robot)[-1]["stopped"] is None, "another episode begins"


def test_an_emergency_stop_outlasts_the_episode(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    robot.estop()
    assert forward(robot)[-1]["stopped"] == "emergency stop"
    assert refusal(robot.reset) == "the arm does not start: emergency stop"
    robot.recover()
    robot.reset()


def test_a_reflex_ends_the_episode_until_recover(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    robot.arm.fault = "joint_reflex"
    assert forward(robot)[-1]["stopped"] == "reflex: joint_reflex"
    assert "reflex: joint_reflex" in refusal(robot.reset)
    robot.recover()
    robot.reset()


def test_the_operator_marks_success(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    robot.mark(True)
    _, reward, terminated, _, info = forward(robot)
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    assert robot.reset()[1]["success"] is False


def test_it_ends_at_its_limit_of_steps() -> None:
    robot = FakeRobot(max_steps=3)
    robot.reset(seed=0)
    assert [forward(robot)[3] for _ in range(3)] == [False, False, True]


def test_the_gripper_stays_in_the_workspace(robot: FakeRobot) -> None:
    robot.reset(seed=0)
    events = set()
    for _ in range(30):
        observation, *_, info = forward(robot, dz=-0.05)
        events |= set(info["safety"])
    assert 0.0 <= observation["proprio"][10] < 0.05 and "workspace" in events


@pytest.mark.parametrize(
    "box", [{"x": (0, 1)}, {"x": (1, 0), "y": (0, 1), "z": (0, 1)}, {"x": 1, "y": (0, 1), "z": (0, 1)}]
)
def test_a_workspace_is_a_box(box: dict) -> None:
    assert "expected x, y and z, each with [low, high] in m" in refusal(lambda: FakeRobot(workspace=box))


def test_mistakes_are_told() -> None:
    assert refusal(lambda: FakeRobot(action_space="jont")).startswith("unknown action space 'jont': did you")
    elsewhere = FakeRobot(workspace={"x": (0.7, 0.8), "y": (-1, 1), "z": (0, 1)})
    assert "outside Workspace" in refusal(elsewhere.reset)


def test_what_fails_at_connect_leaves_nothing_open_and_the_next_try_opens_each_once(robot: FakeRobot) -> None:
    front, wrist = robot.eyes.values()
    wrist.problem = "camera /dev/video2 gives no frame"
    for _ in range(2):
        assert refusal(robot.connect) == wrist.problem
        assert not front.is_open and not wrist.is_open
    wrist.problem, robot.arm.absent = None, "no arm at 10.0.0.2"
    assert refusal(robot.connect) == "no arm at 10.0.0.2"
    assert not front.is_open and not wrist.is_open
    robot.arm.absent = None
    robot.connect()
    robot.connect()
    assert (front.is_open, wrist.is_open, wrist.opened) == (True, True, 2)
    robot.close()
    assert not front.is_open and not wrist.is_open
