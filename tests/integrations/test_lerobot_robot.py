"""A robot of LeRobot's, as a plug-in of a stand-in for lerobot and (slow) of lerobot itself."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_camera import FakeCamera
from mistakes import refusal

from s2robot.config import compose, instantiate
from s2robot.integrations.lerobot.robot import LeRobotArm
from s2robot.robot.arm import ArmCommand, ArmError, Mode
from s2robot.robot.clock import Clock
from s2robot.robot.env import RobotEnv

TESTS = Path(__file__).parents[1]
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"]
HOME = np.array([0.0, -1.2, 1.2, 0.8, 0.0])

Make = Callable[..., LeRobotArm]


@pytest.fixture(params=["stand-in", pytest.param("lerobot", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes arms, which are closed again."""
    plugins = [TESTS / "lerobot_plugin"]
    if request.param == "lerobot":
        environment = os.environ.get("S2ROBOT_LEROBOT")
        if environment is None:
            pytest.skip("S2ROBOT_LEROBOT names no environment that has lerobot")
    else:
        environment = str(environment_of(sys.executable, tmp_path / "environment"))
        plugins.append(TESTS / "lerobot_stand_in")
    arms = []

    def made(**changes: Any) -> LeRobotArm:
        options = {"log": str(tmp_path / "log"), "id": "test"} | changes.pop("options", {})
        given = {"type": "dummy", "kind": "so101", "joints": JOINTS, "lerobot": {"environment": environment}}
        arms.append(LeRobotArm(options=options, plugins=plugins, **(given | changes)))
        return arms[-1]

    yield made
    for arm in arms:
        arm.close()


def environment_of(python: str, folder: Path) -> Path:
    """A folder like a virtual environment's that says it has lerobot."""
    script = folder / "bin" / "python"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\ncase "$*" in *metadata*) echo 0.6.1;; *) exec {python} "$@";; esac\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def arm(make: Make) -> LeRobotArm:
    arm = make()
    arm.connect()
    arm.resume()
    return arm


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_units_are_rad_and_m_here_and_degrees_and_percent_there(arm: LeRobotArm, tmp_path: Path) -> None:
    before = arm.observe()
    assert not before.joints.any() and before.gripper == 0 and before.fault is None
    sent = arm.command(ArmCommand(HOME, 0.035))
    assert np.allclose(sent.joints, HOME) and sent.gripper == pytest.approx(0.035)
    assert [float(x) for x in log(tmp_path)[-1].split()] == pytest.approx([*np.degrees(HOME), 50.0], abs=1e-3)
    state = arm.observe()
    assert np.allclose(state.joints, HOME) and state.gripper == pytest.approx(0.035)
    assert before.time < state.time <= Clock().now()


def test_stopped_it_holds_where_it_is_and_takes_nothing(arm: LeRobotArm, tmp_path: Path) -> None:
    arm.command(ArmCommand(HOME / 2, 0.0))
    held = log(tmp_path)[-1]
    arm.stop()
    arm.command(ArmCommand(HOME, 0.0))
    assert arm.state() is Mode.STOPPED and log(tmp_path)[-1] == held
    arm.resume()
    arm.command(ArmCommand(HOME, 0.0))
    assert log(tmp_path)[-1] != held
    arm.estop()
    with pytest.raises(ArmError, match="emergency stop: only recover"):
        arm.resume()
    assert arm.state() is Mode.ESTOP
    arm.recover()
    assert arm.state() is Mode.STOPPED


def test_a_stop_that_a_target_overtakes_holds_all_the_same(
    arm: LeRobotArm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ask = arm._ask

    def stopped_first(message: Any, *rest: Any) -> Any:
        if message.get("action", {}).get("elbow_flex.pos", 0) > 60:
            monkeypatch.undo()
            arm.estop()
        return ask(message, *rest)

    monkeypatch.setattr(arm, "_ask", stopped_first)
    arm.command(ArmCommand(HOME, 0.0))
    *_, held, overtaken, again = log(tmp_path)
    assert held.startswith("0.000 0.000") and overtaken == again, "it holds where that target brought it"
    assert arm.state() is Mode.ESTOP


def test_it_goes_home_slowly_and_not_after_a_stop(arm: LeRobotArm) -> None:
    near = np.array([0.1, 0, 0, 0, 0])
    arm.home(near, 0.07)
    assert np.allclose(arm.observe().joints, near) and arm.observe().gripper == pytest.approx(0.07)
    threading.Timer(0.3, arm.stop).start()
    with pytest.raises(ArmError, match="stopped"):
        arm.home(HOME, 0.07)
    assert 0 < arm.observe().joints[2] < 1.0


def test_closed_it_lets_go_of_the_robot(arm: LeRobotArm, tmp_path: Path) -> None:
    arm.close()
    assert log(tmp_path)[0] == "connected" and log(tmp_path)[-1] == "disconnected"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no bus", "ConnectionError: no bus"),
        ("gone", "lerobot failed"),
        ("silent", "lerobot does not answer within 1 s"),
    ],
)
def test_what_goes_wrong_there_is_an_error_here(make: Make, fault: str, said: str) -> None:
    arm = make(options={"fault": fault})
    arm.connect()
    arm.resume()
    began = time.monotonic()
    with pytest.raises(ArmError, match=said):
        arm.command(ArmCommand(np.array([0, 0, 1.5, 0, 0]), 0.0))
    assert time.monotonic() - began < 10
    arm.stop()  # raises nothing
    if fault == "no bus":
        assert not arm.observe().joints.any(), "one that answers is not lost"
        return
    with pytest.raises(ArmError, match=said):
        arm.observe()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "dumy"}, "dumy does not start: ValueError: unknown robot 'dumy': lerobot has "),
        ({"options": {"speed": 1}}, "dummy does not start: "),
        ({"options": {"calibrated": False}}, "is not calibrated: run `lerobot-calibrate`"),
        ({"gripper": "hand"}, "it has no hand.pos, but shoulder_pan.pos"),
        ({"joints": ["a"]}, "a so101 has 5"),
        ({"kind": "so102"}, "did you mean 'so101'?"),
    ],
)
def test_mistakes_are_one_line(make: Make, changes: dict[str, Any], said: str) -> None:
    message = refusal(lambda: make(**changes).connect())
    assert said in message and "\n" not in message


def test_a_robot_s_environment_drives_it(make: Make, tmp_path: Path) -> None:
    """Ten steps in joint space behind the safety layer."""
    clock = Clock()
    cameras = {name: FakeCamera(clock, 16) for name in ("front", "wrist")}
    box = {"x": (0.1, 0.4), "y": (-0.2, 0.2), "z": (0.0, 0.4)}
    env = RobotEnv(make(), cameras, list(HOME), box, action_space="joint", velocity=0.5)
    try:
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        target = np.append(HOME + np.eye(5)[0] / 10, -1).astype(np.float32)
        for _ in range(10):
            observation, _, _, _, info = env.step(target)
            assert info["stopped"] is None
        assert np.allclose(observation["proprio"][:5], target[:5], atol=1e-3)
    finally:
        env.close()
    assert log(tmp_path)[-1] == "disconnected"


def test_its_config_composes() -> None:
    robot = compose("deploy", ["robot=lerobot", "checkpoint=x", "out=x"]).robot
    arm = instantiate(robot["arm"])
    assert isinstance(arm, LeRobotArm) and arm.state() is Mode.CLOSED
