"""Who watches over a robot: says when a rollout may begin, stops it, and marks what became of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import numpy as np

from s2robot.core.spec import Observation
from s2robot.core.task import Task
from s2robot.policy.execution.asynchronous import AsynchronousExecutor
from s2robot.robot.arm import Mode
from s2robot.robot.env import RobotEnv
from s2robot.teleop.console import Console
from s2robot.teleop.device import Event, Phase
from s2robot.teleop.human import TakeEnded
from s2robot.teleop.steering import Steering
from s2robot.teleop.supervision import Overseer

_LATCHED = (Mode.ESTOP, Mode.FAULT)


class Mark(StrEnum):
    """What became of a rollout."""

    SUCCESS = "success"
    FAILURE = "failure"
    REPEAT = "repeat"  # it does not count: the scene was set up otherwise, somebody was in the way


class Operator(Overseer, Protocol):
    """Whoever is asked."""

    def ready(self, setup: str) -> bool:
        """Waits until the scene is set up so and the robot may move; False: no further rollout."""
        ...

    def mark(self, success: bool, why: str | None) -> Mark:
        """What became of the rollout; `success` is what the robot knows, `why` why it was stopped."""
        ...


class Nobody:
    """For a robot whose scene knows success."""

    def ready(self, setup: str) -> bool:
        return True

    def reset(self) -> None:
        """Nothing is remembered."""

    def attend(self, observation: Observation) -> None:
        return None

    def followed(self, action: np.ndarray) -> None:
        """Nobody takes over."""

    def mark(self, success: bool, why: str | None) -> Mark:
        return Mark.SUCCESS if success else Mark.FAILURE


class Terminal:
    """An operator at a keyboard. Ctrl-C stops the arm and ends everything."""

    def __init__(self, env: RobotEnv, task: Task, ask: Callable[[str], str] = input) -> None:
        self._env, self._task, self._ask = env, task, ask

    def ready(self, setup: str) -> bool:
        if self._env.safe.state() in _LATCHED:
            if self._ask(f"{self._env.safe.reason}. Enter: clear it; q: end ") == "q":
                return False
            self._env.recover()
        return self._ask(f"{setup}. Enter: the robot moves; q: end ") != "q"

    def reset(self) -> None:
        """Nothing is remembered."""

    def attend(self, observation: Observation) -> None:
        return None

    def followed(self, action: np.ndarray) -> None:
        """Nobody takes over."""

    def mark(self, success: bool, why: str | None) -> Mark:
        reason = f"the arm was stopped ({why}). " if why else ""
        question = f"{reason}Did it succeed ({self._task.goal})? y, n, or r: does not count "
        answers = {"y": Mark.SUCCESS, "n": Mark.FAILURE, "r": Mark.REPEAT}
        while True:
            answer = self._ask(question).strip().lower()
            if answer in answers:
                return answers[answer]


class Page:
    """An operator at the page in a browser, who may take over.

    Args:
        steering: from the page's motions to actions; None where nobody can steer this robot.
    """

    def __init__(
        self,
        console: Console,
        env: RobotEnv,
        task: Task,
        executor: AsynchronousExecutor,
        steering: Steering | None,
    ) -> None:
        self._console, self._env, self._task = console, env, task
        self._executor, self._steering = executor, steering
        self._steers = self._closed = False
        self._steps = 0

    def reset(self) -> None:
        self._steers, self._closed, self._steps = False, False, 0

    def ready(self, setup: str) -> bool:
        self.reset()
        if self._env.safe.state() in _LATCHED and not self.released():
            return False
        self._console.enter(Phase.WAITING, f"{setup}. Start: the robot moves")
        while True:
            match self._wait():
                case Event.START:
                    self._console.enter(Phase.RECORDING, "the policy acts: move to take over")
                    return True
                case Event.FINISH:
                    return False
                case Event.STOP:
                    self._env.estop()
                    if not self.released():
                        return False
                    self._console.enter(Phase.WAITING, f"{setup}. Start: the robot moves")

    def attend(self, observation: Observation) -> np.ndarray | None:
        if not self._steps:  # a key tapped while the arm went home takes over from nobody
            self._console.forget_motion()
        self._show(observation)
        while event := self._console.event():
            self._hear(event)
        command = self._console.command()
        if command.absence:  # nobody could stop it
            self._env.stop(command.absence)
            raise TakeEnded(Event.PAUSE, command.absence)
        if self._steering is None:
            return None
        self._steers = self._steers or command.moves
        if not self._steers:
            return None
        return self._steering.action(observation, command, self._closed)

    def followed(self, action: np.ndarray) -> None:
        """Who takes over next drops nothing."""
        grippers = self._env.robot_spec.grippers
        self._closed = any(bool(gripper.is_closed(action)) for gripper in grippers)
        if self._steering is not None:
            self._steering.reset()

    def mark(self, success: bool, why: str | None) -> Mark:
        account = f"the arm was stopped: {why}" if why else f"{self._steps} steps"
        question = f"{account}. Did it succeed ({self._task.goal})?"
        self._console.status.success = success
        self._console.enter(Phase.REVIEW, question)
        answers = {
            Event.KEEP: Mark.SUCCESS,
            Event.DISCARD: Mark.FAILURE,
            Event.REDO: Mark.REPEAT,
        }
        while True:
            event = self._console.wait_for_event()
            if event in answers:
                return answers[event]
            self._env.estop()
            self.released()
            self._console.enter(Phase.REVIEW, question)

    def released(self) -> bool:
        """Stands still until the operator releases the stop; False where they end the session instead."""
        self._console.enter(Phase.STOPPED, f"{self._env.safe.reason}: Home releases it")
        if self._console.wait_for_event() is not Event.HOME:
            return False
        self._env.recover()
        return True

    def _wait(self) -> Event:
        while (event := self._console.event()) is None:
            self._console.idle(self._env.look()["images"], facts=self._facts())
        return event

    def _hear(self, event: Event) -> None:
        match event:
            case Event.GRIPPER if self._steering is not None:
                self._closed, self._steers = not self._closed, True
            case Event.TAKE_OVER if self._steering is not None:
                self._steers = not self._steers
            case Event.STOP:
                self._env.estop()
                raise TakeEnded(event)
            case Event.KEEP | Event.DISCARD | Event.REDO | Event.PAUSE:
                self._env.stop("ended by the operator")
                raise TakeEnded(event)
            case _:
                self._console.show(message="nobody can steer this robot")

    def _show(self, observation: Observation) -> None:
        used, control_rate = self._executor.used, self._env.control_rate
        self._console.show(
            observation["images"],
            steps=self._steps,
            seconds=control_rate.now() if self._steps else 0.0,
            achieved=control_rate.achieved(),
            jitter=control_rate.jitter(),
            overruns=control_rate.overruns,
            closed=self._closed,
            by_person=self._steers,
            proprio=[float(value) for value in observation["proprio"]],
            facts=self._facts(),
            chunk=[] if used is None else used.actions.tolist(),
        )
        self._steps += 1

    def _facts(self) -> dict[str, str]:
        ages, counts = 1000 * np.array(self._executor.ages[-50:] or [np.nan]), self._env.safe.counts
        events = ", ".join(f"{name} {count}" for name, count in counts.items())
        return {
            "arm": self._env.safe.reason or "moves",
            "capture to command": "–" if np.isnan(ages).any() else f"{ages[-1]:.0f} ms",
            "its 99th percentile": "–" if np.isnan(ages).any() else f"{np.percentile(ages, 99):.0f} ms",
            "safety layer": events or "has not acted",
        }
