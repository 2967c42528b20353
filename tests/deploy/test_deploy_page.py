"""Deploying from the page: start, take over, stop, and mark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from forward_policy import Forward
from robots import FakeRobot

from s2robot.core.task import Start
from s2robot.deploy.operator import Mark, Page
from s2robot.deploy.rollout import roll_out
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.robot.arm import Mode
from s2robot.tasks.cube_pick import CubePickTask
from s2robot.teleop.console import Console
from s2robot.teleop.device import Command, Event, Images, Phase, Status
from s2robot.teleop.steering import make_steering

TASK = CubePickTask()


class Buttons:
    """A device that presses what the test says in each phase, and moves at one step."""

    invitation = "buttons"

    def __init__(self, presses: dict[Phase, list[Event]], during: dict[int, Event] | None = None) -> None:
        self.presses, self.during = presses, during or {}
        self.moves_at = -1
        self.seen: list[Status] = []

    def command(self) -> Command:
        moves = self.seen and self.seen[-1].steps == self.moves_at
        return Command(np.array([0.0, 0.1, 0.0]) if moves else np.zeros(3))

    def events(self) -> list[Event]:
        status = self.seen[-1]
        if status.phase is Phase.RECORDING:
            return [self.during.pop(status.steps)] if status.steps in self.during else []
        waiting = self.presses.get(status.phase, [])
        return [waiting.pop(0)] if waiting else []

    def show(self, status: Status, images: Images) -> None:
        self.seen.append(Status(**vars(status)))

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def rig() -> Iterator[Any]:
    env = FakeRobot(max_steps=6)
    executor = AsynchronousExecutor(
        Forward(), env.robot_spec, env.clock.now, ChunkBlending(inference_slack=0.0)
    )

    def page(device: Buttons) -> Page:
        console = Console(device, Status(rate=10.0, target=1), lambda status: None)
        console.show()
        return Page(console, env, TASK, executor, make_steering(env))

    yield env, executor, page
    executor.close()
    env.close()


def test_a_rollout_is_started_watched_and_marked(rig: Any) -> None:
    env, executor, page = rig
    device = Buttons({Phase.WAITING: [Event.START], Phase.REVIEW: [Event.KEEP]})
    operator = page(device)
    assert operator.ready("Position 3: there")
    rollout = roll_out(env, executor, operator, TASK, Start(), 0)
    assert (rollout.mark, rollout.steps, rollout.by_person) == (Mark.SUCCESS, 6, [False] * 6)
    assert any(s.message.startswith("Position 3: there. Start") for s in device.seen)
    running = [s for s in device.seen if s.phase is Phase.RECORDING and s.steps > 1]
    assert running[-1].chunk and len(running[-1].chunk[0]) == 4
    assert running[-1].facts["capture to command"].endswith(" ms") and running[-1].facts["arm"] == "moves"
    assert running[-1].achieved == pytest.approx(10.0)


def test_who_moves_takes_over_and_hands_back(rig: Any) -> None:
    env, executor, page = rig
    device = Buttons({Phase.WAITING: [Event.START], Phase.REVIEW: [Event.DISCARD]}, {4: Event.TAKE_OVER})
    device.moves_at = 2
    operator = page(device)
    operator.ready("here")
    rollout = roll_out(env, executor, operator, TASK, Start(), 0)
    assert rollout.mark is Mark.FAILURE
    assert rollout.by_person == [False, False, True, True, False, False]
    assert rollout.recorder.episode({}).action[2].tolist() == pytest.approx([0, 0.005, 0, -1])


class Tapped(Buttons):
    """A key was tapped each time before the motion is asked for in vain."""

    taps = 0

    def command(self) -> Command:
        self.taps, tapped = 0, self.taps
        return Command(np.full(3, 0.1 * bool(tapped)))

    def show(self, status: Status, images: Images) -> None:
        super().show(status, images)
        self.taps += status.phase is Phase.WAITING


def test_a_key_tapped_before_the_start_takes_over_from_nobody(rig: Any) -> None:
    env, executor, page = rig
    device = Tapped({Phase.WAITING: [Event.START], Phase.REVIEW: [Event.KEEP]})
    operator = page(device)
    operator.ready("here")
    device.taps += 1  # while the arm goes home
    assert roll_out(env, executor, operator, TASK, Start(), 0).by_person == [False] * 6


class Closed(Buttons):
    """The window is closed while the policy acts."""

    def command(self) -> Command:
        gone = self.seen and self.seen[-1].phase is Phase.RECORDING and self.seen[-1].steps == 3
        return Command(absence="no page is connected") if gone else super().command()


def test_a_policy_does_not_act_where_nobody_watches(rig: Any) -> None:
    env, executor, page = rig
    device = Closed({Phase.WAITING: [Event.START], Phase.REVIEW: [Event.REDO]})
    operator = page(device)
    operator.ready("here")
    rollout = roll_out(env, executor, operator, TASK, Start(), 0)
    assert rollout.mark is Mark.REPEAT and rollout.steps == 3
    assert env.safe.state() is Mode.STOPPED
    assert any("no page is connected" in s.message for s in device.seen if s.phase is Phase.REVIEW)


def test_an_emergency_stop_holds_until_home_releases_it(rig: Any) -> None:
    env, executor, page = rig
    presses = {
        Phase.WAITING: [Event.START, Event.START],
        Phase.REVIEW: [Event.REDO],
        Phase.STOPPED: [Event.HOME],
    }
    device = Buttons(presses, {2: Event.STOP})
    operator = page(device)
    operator.ready("here")
    rollout = roll_out(env, executor, operator, TASK, Start(), 0)
    assert rollout.mark is Mark.REPEAT and env.safe.state() is Mode.ESTOP
    assert operator.ready("here"), "after Home"
    stopped = [s for s in device.seen if s.phase is Phase.STOPPED]
    assert stopped[-1].message == "emergency stop: Home releases it"
    assert env.safe.state() is Mode.STOPPED


def test_finish_ends_the_session(rig: Any) -> None:
    _, _, page = rig
    assert not page(Buttons({Phase.WAITING: [Event.FINISH]})).ready("here")
