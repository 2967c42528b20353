"""What an attempt at a demo consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np

from s2robot.config import instantiate
from s2robot.config.options import Component
from s2robot.core.errors import UserError
from s2robot.core.rollout import Actor
from s2robot.core.spec import Observation
from s2robot.core.task import Start


class Expert(Actor, Protocol):
    """An actor that says of each of its steps whether it is worth learning (a planned mistake is not)."""

    @property
    def action_loss_mask(self) -> list[bool]:
        """Since the last reset."""
        ...


@dataclass(frozen=True)
class Demonstration:
    """What one attempt needs: the environment (perhaps wrapped), who acts, and how the episode starts.

    `keep_failures`: it is a demo whether it succeeds or not.
    """

    env: gymnasium.Env
    expert: Expert
    start: Start
    keep_failures: bool = False


class PlainExpert:
    """An expert that knows nothing of demos: `act(observation)`, perhaps `reset()`. Every step is learned.

    Of an environment behind `env=gym` it gets that one's own observation.
    """

    def __init__(self, expert: Any, env: gymnasium.Env) -> None:
        self._expert, self._env = expert, env.unwrapped
        self.action_loss_mask: list[bool] = []

    def reset(self) -> None:
        self.action_loss_mask = []
        if hasattr(self._expert, "reset"):
            self._expert.reset()

    def act(self, observation: Observation) -> np.ndarray:
        self.action_loss_mask.append(True)
        return np.asarray(self._expert.act(getattr(self._env, "original_observation", observation)))


def make_demonstration(config: Component, env: gymnasium.Env, rng: np.random.Generator) -> Demonstration:
    """One attempt of the expert that a config names: called with `env` and `rng`, it gives a Demonstration,
    or an object with `act`. Of an environment behind `env=gym`, `env` is that one.

    Raises UserError for something else.
    """
    made = instantiate(config, env=getattr(env.unwrapped, "original", env), rng=rng)
    if isinstance(made, Demonstration):
        return made
    if not callable(getattr(made, "act", None)):
        raise UserError(
            f"expert={config['_target_']} gives {type(made).__name__}: "
            "expected an object with act(observation)"
        )
    return Demonstration(env, PlainExpert(made, env), Start(), getattr(made, "keep_failures", False))
