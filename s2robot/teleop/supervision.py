"""A policy under a person's eyes: the one actor of `record` and `deploy` that a person can take over from.

(HG-DAgger, Kelly et al. 2019: the person decides when to take over and when to hand back.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import gymnasium
import numpy as np

from s2robot.core.rollout import Actor
from s2robot.core.spec import Observation

if TYPE_CHECKING:
    from s2robot.policy.policy import Policy, Predictor  # imports torch, which a person alone does not need


class Overrulable(Actor, Protocol):
    """A policy's executor that goes on where a person has acted in between."""

    def overruled(self, observation: Observation, action: np.ndarray) -> None:
        """A person took this action (Da,): it belongs to the policy's history."""
        ...

    def close(self) -> None:
        """Ends what it runs beside."""
        ...


class Overseer(Protocol):
    """Whoever watches over a policy, or acts without one."""

    def reset(self) -> None:
        """A new episode begins."""
        ...

    def attend(self, observation: Observation) -> np.ndarray | None:
        """Called at each step: the person's action (Da,), or None where the policy shall act.

        Raises TakeEnded where the episode is to end.
        """
        ...

    def followed(self, action: np.ndarray) -> None:
        """The policy took this action."""
        ...


class Supervision:
    """An actor: at each step the person acts, or the policy.

    Args:
        policy: None where the person always acts.

    `by_person` says for each step of the episode whether the person acted.
    """

    def __init__(self, overseer: Overseer, policy: Overrulable | None) -> None:
        self._overseer, self._policy = overseer, policy
        self.by_person: list[bool] = []

    def reset(self) -> None:
        self.by_person = []
        self._overseer.reset()
        if self._policy is not None:
            self._policy.reset()

    def act(self, observation: Observation) -> np.ndarray:
        """Raises TakeEnded, and PolicySilent where the policy gives nothing to do."""
        action = self._overseer.attend(observation)
        self.by_person.append(action is not None)
        if action is not None:
            if self._policy is not None:
                self._policy.overruled(observation, action)
            return action
        assert self._policy is not None, "without a policy the person acts"
        action = self._policy.act(observation)
        self._overseer.followed(action)
        return action


class Executor(Actor, Protocol):
    """An actor that executes the chunks of a policy, such as `ChunkExecutor`."""

    policy: Predictor


class Resumable:
    """An executor that waits for its policy, for simulation: a person's action voids its plan.

    Args:
        make: an executor of the policy that has planned nothing yet.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._executor = make()

    def reset(self) -> None:
        self._executor.reset()

    def act(self, observation: Observation) -> np.ndarray:
        return self._executor.act(observation)

    def overruled(self, observation: Observation, action: np.ndarray) -> None:
        self._executor.policy.observe(observation)
        self._executor.policy.record_action(action)
        self._executor = self._make()

    def close(self) -> None:
        """Nothing runs beside it."""


def make_overrulable(policy: Policy, env: gymnasium.Env) -> Overrulable:
    """The executor of a policy: asynchronous on a robot, which never waits; in step in simulation."""
    from s2robot.policy.execution.asynchronous import AsynchronousExecutor, blending_at
    from s2robot.policy.policy import ChunkExecutor
    from s2robot.robot.env import RobotEnv

    robot = env.unwrapped
    if not isinstance(robot, RobotEnv):
        return Resumable(lambda: ChunkExecutor(policy))
    spec, clock = robot.robot_spec, robot.clock
    return AsynchronousExecutor(policy, spec, clock.now, blending_at(spec.rate), clock.real)
