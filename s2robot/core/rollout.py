"""One episode: the same loop in simulation and on an arm, for experts, people and policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np

from s2robot.core.spec import Observation


class Actor(Protocol):
    """Whoever acts: a policy, an expert, a person at a device. Its state lives in the instance."""

    def reset(self) -> None:
        """A new episode begins."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """The action (Da,) for this observation."""
        ...


class Subscriber:
    """What listens to a rollout; override what is needed."""

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        """The first observation, before any action."""

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        """`action` was asked for at `observation`; `info` is what the environment said after taking it."""


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, as the environment says.

    `progress`: how far the task was done at best, 0 to 1; None where the environment does not tell.
    """

    success: bool
    steps: int
    progress: float | None = None


def run_episode(
    env: gymnasium.Env,
    actor: Actor,
    *,
    seed: int,
    options: Mapping[str, Any] | None = None,
    subscribers: Iterable[Subscriber] = (),
) -> Outcome:
    """Runs one episode to its end (success, or the environment's limit of steps).

    Args:
        env: a gymnasium environment with our observations (`make_env`), or a robot.
        actor: a policy (`load_policy`), or anything with `reset()` and `act(observation)`.
        seed, options: of the environment's reset; a task's starts bring their options.
        subscribers: told of the first observation and of every step.

    Examples:
        >>> env = s2robot.make_env("toy")
        >>> policy = s2robot.load_policy("runs/policy")
        >>> outcome = s2robot.run_episode(env, policy, seed=0)
        >>> outcome.steps <= env.max_steps
        True
    """
    subscribers = list(subscribers)
    observation, info = env.reset(seed=seed, options=dict(options) if options else None)
    actor.reset()
    for subscriber in subscribers:
        subscriber.on_reset(observation, info)
    steps, done, progress = 0, False, None
    while not done:
        action = actor.act(observation)
        following, _, terminated, truncated, info = env.step(action)
        for subscriber in subscribers:
            subscriber.on_step(observation, action, info)
        observation, steps, done = following, steps + 1, terminated or truncated
        if "progress" in info:
            progress = max(progress or 0.0, info["progress"])
    return Outcome(bool(info["success"]), steps, progress)
