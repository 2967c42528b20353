"""A policy under a person's eyes: who acts, and how the policy is executed on a robot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from forward_policy import Forward
from robots import FakeRobot

from envs.toy import Toy
from s2robot.core.rollout import run_episode
from s2robot.core.spec import Observation
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, blending_at
from s2robot.teleop.supervision import Resumable, Supervision, make_overrulable


class Sometimes:
    """Acts at one step."""

    def __init__(self, at: int) -> None:
        self.at, self.actions = at, []

    def reset(self) -> None:
        self.step = 0

    def attend(self, observation: Observation) -> np.ndarray | None:
        self.step += 1
        return np.array([0, 0.004, 0, 1], np.float32) if self.step == self.at else None

    def followed(self, action: np.ndarray) -> None:
        self.actions.append(action)


def test_a_robot_never_waits_for_its_policy_and_a_simulator_does() -> None:
    robot, toy = FakeRobot(max_steps=4), Toy(image_size=16)
    executor = make_overrulable(Forward(), robot)  # type: ignore[arg-type]
    assert isinstance(executor, AsynchronousExecutor)
    assert isinstance(make_overrulable(Forward(), toy), Resumable)  # type: ignore[arg-type]
    overseer = Sometimes(at=2)
    actor = Supervision(overseer, executor)
    run_episode(robot, actor, seed=0)
    assert actor.by_person == [False, True, False, False] and len(overseer.actions) == 3
    executor.close()
    robot.close()


def test_the_slack_of_a_quick_robot_is_what_its_rate_allows() -> None:
    assert blending_at(10.0).inference_slack == 0.06
    assert blending_at(50.0) == replace(blending_at(10.0), inference_slack=0.6 / 50)


def test_without_a_policy_the_person_acts_throughout() -> None:
    class Always(Sometimes):
        def attend(self, observation: Observation) -> np.ndarray:
            return np.zeros(4, np.float32)

    robot = FakeRobot(max_steps=3)
    actor = Supervision(Always(at=0), None)
    run_episode(robot, actor, seed=0)
    assert actor.by_person == [True] * 3
    robot.close()
