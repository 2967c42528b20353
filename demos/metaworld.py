"""Meta-World's own scripted experts, one a task."""

# pyright: reportMissingImports=false
# (Meta-World may be missing)

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np

from envs.metaworld import MetaWorld
from s2robot.core.errors import UserError


class MetaWorldExpert:
    """Acts by the simulator's state, whatever is observed. `rng` is not used: it acts alike at each try.

    Raises UserError for an environment of something else.
    """

    def __init__(self, env: gymnasium.Env, rng: np.random.Generator | None = None) -> None:
        original = getattr(env.unwrapped, "original", env).unwrapped
        if not isinstance(original, MetaWorld):
            raise UserError(f"expert=metaworld is that of env=metaworld, not of {type(original).__name__}")
        from metaworld.policies import ENV_POLICY_MAP

        self._env, self._policy = original, ENV_POLICY_MAP[original.task]()

    def reset(self) -> None:
        """It keeps nothing of what was."""

    def act(self, observation: Any) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Constant(s) may be too high": clipped, as it says
            action = self._policy.get_action(self._env.state)
        return np.clip(action, -1.0, 1.0).astype(np.float32)
