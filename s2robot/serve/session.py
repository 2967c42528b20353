"""One connection's episode: its history, and the answers to its requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.policy.policy import Predictor
from s2robot.serve.contract import EXECUTED, Contract, Request
from s2robot.serve.wire import pack


@dataclass(frozen=True)
class Service:
    """What a server offers to every connection.

    Attributes:
        contract: what a request is.
        new_predictor: makes a predictor with an empty history; all may share a model, which is only read.
        n_obs_steps, chunk_size: To, Ta.
        call_every: control steps between two requests, where a client does not send `actions_executed`.
        reset_after: s between two requests after which such a client begins a new episode; None: never.
        about: what else the metadata states, e.g. the checkpoint's hash.
    """

    contract: Contract
    new_predictor: Callable[[], Predictor]
    n_obs_steps: int
    chunk_size: int
    call_every: int = 1
    reset_after: float | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.call_every <= self.chunk_size:
            raise UserError(f"call_every={self.call_every}: expected 1 to {self.chunk_size}")
        if self.reset_after is not None and self.reset_after <= 0:
            raise UserError(f"reset_after={self.reset_after}: expected more than 0 s, or null")

    def metadata(self) -> dict[str, Any]:
        """What every connection is sent first."""
        spec = self.contract.spec
        return {
            **self.about,
            "observation": self.contract.expected(),
            "optional": self.contract.optional(),
            "keys": self.contract.keys,
            "resize": self.contract.resize,
            "action": {"dtype": "float32", "shape": [spec.action_dim], "names": list(spec.action)},
            "action_space": spec.action_space,
            "chunk_size": self.chunk_size,
            "rate": spec.rate,
            "cameras": list(spec.cameras),
            "history": {
                "steps": self.n_obs_steps,
                "call_every": self.call_every,
                "reset_after": self.reset_after,
            },
            "robot_spec": spec.to_dict(),
        }


class Session:
    """The history of one connection. Not for two threads at once."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._predictor = service.new_predictor()
        self._chunk: np.ndarray | None = None  # the last reply of this episode
        self._last = 0.0

    def answer(self, payload: bytes, previous_ms: float | None = None) -> bytes:
        """The reply to a request: `actions`, float32 (Ta, Da) in the metadata's units, and `server_timing`.

        Args:
            previous_ms: how long the request before took, from its arrival to its reply.

        Raises UserError for a request that is refused, whose history is then worth nothing.
        """
        request = self.service.contract.read(payload)
        if request.reset or (request.executed is None and self._was_idle()):
            self._predictor.reset()
            self._chunk = None
        for action in self._executed(request):
            self._predictor.record_action(action)
        started = time.perf_counter()
        self._predictor.observe(request.observation)
        self._chunk = self._predictor.predict()
        timing = {"infer_ms": 1000 * (time.perf_counter() - started)}
        if not np.isfinite(self._chunk).all():
            raise UserError("the policy predicted actions that are not finite")
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        self._last = time.monotonic()
        return pack({"actions": self._chunk, "server_timing": timing})

    def _was_idle(self) -> bool:
        limit = self.service.reset_after
        return limit is not None and self._chunk is not None and time.monotonic() - self._last > limit

    def _executed(self, request: Request) -> Sequence[np.ndarray] | np.ndarray:
        """The actions (Da,) from the last observation to this one."""
        if request.reset or (request.executed is None and self._chunk is None):
            return ()
        if request.executed is None:
            assert self._chunk is not None
            return self._chunk[: self.service.call_every]
        if self._chunk is not None and not len(request.executed):
            raise UserError(f"{EXECUTED} is empty: expected the actions since the last request, one at least")
        return request.executed[-self.service.n_obs_steps :]  # those before lie outside the history
