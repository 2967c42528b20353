"""What makes a rollout the same to the last bit: hashes of the simulator, its start and all that followed.

The simulator's state is its secret, as the cube's place is: where an environment does not tell it, as on a
real arm, the hashes are of what was seen and done alone.
"""

from __future__ import annotations

import hashlib
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.rollout import Subscriber
from s2robot.core.spec import Observation

_DIGITS = 16  # of a hash in hex: enough to tell any two rollouts apart


class Fingerprint(Subscriber):
    """Listens to a rollout.

    The environment tells, if it can, `env.unwrapped.simulator_state()`: a float array that holds all that
    decides what happens next; and `env.unwrapped.model_xml`: what is simulated.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self._state = getattr(env.unwrapped, "simulator_state", None)
        xml = getattr(env.unwrapped, "model_xml", None)
        self._model = None if xml is None else _short(hashlib.sha256(xml.encode()))

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self._start = None if self._state is None else _short(hashlib.sha256(self._state().tobytes()))
        self._all = hashlib.sha256()
        self._note(observation)

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self._all.update(np.ascontiguousarray(action).tobytes())
        self._note(observation)

    def digests(self) -> dict[str, str | None]:
        """`model` (the XML), `start` (the state before the first action), `rollout` (everything), in hex."""
        return {"model": self._model, "start": self._start, "rollout": _short(self._all)}

    def _note(self, observation: Observation) -> None:
        for frame in observation["images"].values():
            self._all.update(np.ascontiguousarray(frame).data)
        self._all.update(np.ascontiguousarray(observation["proprio"]).data)
        if self._state is not None:
            self._all.update(self._state().tobytes())


def _short(digest: Any) -> str:
    return digest.hexdigest()[:_DIGITS]
