"""One rollout on a robot, recorded with its times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.rollout import Subscriber, run_episode
from s2robot.core.spec import Observation
from s2robot.core.task import Failure, Start, Task
from s2robot.data.recorder import Recorder
from s2robot.deploy.operator import Mark, Operator
from s2robot.evaluation.trace import SceneTrace
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, PolicySilent
from s2robot.robot.env import RobotEnv
from s2robot.teleop.device import Event
from s2robot.teleop.human import TakeEnded
from s2robot.teleop.supervision import Supervision


class Timing(Subscriber):
    """When each step's command was sent, and how old the newest frame was that it came from."""

    def __init__(self, executor: AsynchronousExecutor) -> None:
        self._executor = executor
        self.commands: list[float] = []
        self.capture_to_command: list[float] = []
        self.events: Counter[str] = Counter()
        self.stopped: str | None = None

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self.stopped = info["stopped"]
        self.events.update(info["safety"])
        if "command_time" in info:
            used = self._executor.used
            captured = min(observation["times"].values()) if used is None else used.captured
            self.commands.append(info["command_time"])
            self.capture_to_command.append(info["command_time"] - float(captured))


@dataclass(frozen=True)
class Rollout:
    """What happened.

    Attributes:
        stopped: why the arm was stopped; None where it was not.
        failure: why it failed, where the scene is known.
    """

    mark: Mark
    steps: int
    stopped: str | None
    recorder: Recorder
    timing: Timing
    by_person: list[bool]
    failure: Failure | None

    def attributes(self, env: RobotEnv) -> dict[str, Any]:
        """What is stored with it: times in s, counts of what the safety layer did."""
        return {
            "success": self.mark is Mark.SUCCESS,
            "stopped": self.stopped,
            "by_person": self.by_person,
            "action_loss_mask": self.by_person,
            "timing": env.control_rate.attributes(),
            "capture_to_command": [round(age, 4) for age in self.timing.capture_to_command],
            "safety": dict(self.timing.events),
        }


def roll_out(
    env: RobotEnv,
    executor: AsynchronousExecutor,
    operator: Operator,
    task: Task,
    start: Start,
    seed: int,
) -> Rollout:
    """Runs one episode to its end; whatever ends it, the arm stands still afterwards.

    Raises UserError where the arm does not start.
    """
    actor, recorder, timing = Supervision(operator, executor), Recorder(), Timing(executor)
    trace = SceneTrace(env, task)
    success, stopped, repeat = False, None, False
    try:
        subscribers = [recorder, timing, trace]
        outcome = run_episode(env, actor, seed=seed, options=start.options, subscribers=subscribers)
        success, stopped = outcome.success, timing.stopped
    except TakeEnded as ended:
        repeat = ended.event is Event.REDO
        success = ended.event is Event.KEEP
        stopped = "emergency stop" if ended.event is Event.STOP else ended.reason
    except PolicySilent as error:
        stopped = str(error)
    finally:
        env.stop("the rollout is over")
    mark = Mark.REPEAT if repeat else operator.mark(success, stopped)
    failure = trace.failure(mark is Mark.SUCCESS)
    return Rollout(mark, recorder.steps, stopped, recorder, timing, actor.by_person, failure)
