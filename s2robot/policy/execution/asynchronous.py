"""Chunks that are predicted beside the control loop, which never waits for one.

A slow encoder then costs freshness, not rate: each chunk is joined to the time at which its observation was
taken, and the step that is due now is executed, whenever the chunk comes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation, RobotSpec
from s2robot.policy.policy import Predictor

JOINS = ("chunk", "ensemble")
_LONGEST_SLACK = 0.6  # of a period


class PolicySilent(UserError):
    """The policy has given no chunk for too long, or has failed: the arm has to stop."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A prediction.

    Attributes:
        actions: (Ta, Da).
        begun: when its first action was due (s).
        captured: when the oldest source of its observation was measured (s).
        step: of the episode, at which it was observed.
    """

    actions: np.ndarray
    begun: float
    captured: float
    step: int


@dataclass(frozen=True)
class ChunkBlending:
    """How chunks become actions.

    Attributes:
        join: `chunk`: the newest one, cross-faded over `blend` steps from the one before (grippers not);
            `ensemble`: all that speak of this moment, with weights exp(-decay · i), i = 0 the oldest.
        inference_slack: s after its tick that a step may be sent, for a chunk that is nearly there. At most
            0.6 of a period.
        max_chunk_age: age (s) at which a chunk is too old to be acted on.
        first_chunk_timeout: s that the first chunk of an episode may take, before which nothing moves.
    """

    join: str = "chunk"
    blend: int = 2
    decay: float = 0.2
    inference_slack: float = 0.06
    max_chunk_age: float = 1.0
    first_chunk_timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.join not in JOINS:
            raise unknown("join", self.join, JOINS)
        if (
            self.blend < 0
            or self.inference_slack < 0
            or self.max_chunk_age <= 0
            or self.first_chunk_timeout <= 0
        ):
            raise UserError(
                f"{self}: expected no negative blend or inference_slack, "
                "max_chunk_age and first_chunk_timeout above 0 s"
            )


def blending_at(rate: float) -> ChunkBlending:
    """The defaults, with no more `inference_slack` than a rate (Hz) allows."""
    return ChunkBlending(inference_slack=min(ChunkBlending.inference_slack, _LONGEST_SLACK / rate))


class AsynchronousExecutor:
    """An actor around a predictor that lives in a thread of its own.

    The predictor observes the newest observation whenever it is done with the last; of the steps in between
    it records the actions alone.

    Args:
        spec: of the robot: its rate, and its grippers, which are not cross-faded.
        now: seconds on the clock of the observations' `times`.
        real: how long so many of these seconds really take.

    Attributes:
        used: the newest chunk that the last action came from. ages: of each step's (s).
    """

    def __init__(
        self,
        policy: Predictor,
        spec: RobotSpec,
        now: Callable[[], float],
        blending: ChunkBlending | None = None,
        real: Callable[[float], float] = float,
    ) -> None:
        self.policy, self.blending = policy, blending or ChunkBlending()
        if (
            self.blending.inference_slack > _LONGEST_SLACK / spec.rate
        ):  # else two commands could follow too closely
            longest = f"{_LONGEST_SLACK / spec.rate:g} s"
            raise UserError(f"inference_slack={self.blending.inference_slack}: expected at most {longest}")
        self._period, self._now, self._real = 1.0 / spec.rate, now, real
        self._grippers = [gripper.index for gripper in spec.grippers]
        self._changed = threading.Condition()
        self._ending = False
        self._episode = 0
        self._clear()
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """A new episode: whatever is being predicted belongs to the last one."""
        with self._changed:
            self._episode += 1
            self._clear()
            self._changed.notify_all()

    def act(self, observation: Observation) -> np.ndarray:
        """The action (Da,) that is due now, within `inference_slack` of the call once the arm moves.

        Raises PolicySilent where there is none, and what the predictor has raised.
        """
        self._offer(observation)
        with self._changed:
            moving = bool(self._actions and self._chunks)
            timeout = self.blending.inference_slack if moving else self.blending.first_chunk_timeout
            self._changed.wait_for(self._is_fresh, self._real(timeout))
            self._refuse_failure()
            action = self._due(moving)
            self._actions.append(action)
            return action

    def overruled(self, observation: Observation, action: np.ndarray) -> None:
        """Somebody else took this action: it belongs to the history, and the policy goes on looking."""
        self._offer(observation)
        with self._changed:
            self._actions.append(np.asarray(action, np.float32))

    @property
    def last(self) -> np.ndarray | None:
        """The last action of this episode; None before the first."""
        return self._actions[-1] if self._actions else None

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    # ------------------------------------------------------------------ the control loop's side

    def _clear(self) -> None:
        self._newest: tuple[Observation, float, int] | None = None
        self._chunks: deque[Chunk] = deque(maxlen=self.policy.chunk_size)
        self._actions: list[np.ndarray] = []
        self._recorded = 0  # actions that the predictor has taken note of
        self._failure: Exception | None = None
        self.used: Chunk | None = None
        self.ages: list[float] = []

    def _offer(self, observation: Observation) -> None:
        with self._changed:
            self._newest = observation, self._now(), len(self._actions)
            self._changed.notify_all()

    def _is_fresh(self) -> bool:
        newest = self._chunks[-1].step if self._chunks else -1
        return self._failure is not None or newest == len(self._actions)

    def _refuse_failure(self) -> None:
        if isinstance(self._failure, UserError):
            raise self._failure
        if self._failure is not None:
            detail = " ".join(str(self._failure).split())
            raise PolicySilent(
                f"the policy failed: {type(self._failure).__name__}: {detail}"
            ) from self._failure

    def _due(self, moving: bool) -> np.ndarray:
        now = self._now()
        if self._chunks and not moving:  # nothing has moved since it was observed: it begins now
            first = self._chunks.pop()
            self._chunks.append(Chunk(first.actions, now, first.captured, first.step))
        living = [c for c in self._chunks if now - c.begun <= self.blending.max_chunk_age]
        speaking = [(c, place) for c in living if (place := self._place(c, now)) < len(c.actions)]
        if not speaking:
            raise PolicySilent(f"the policy has given nothing to do now, after {len(self._actions)} steps")
        self.used = speaking[-1][0]
        self.ages.append(now - self.used.captured)
        said = np.stack([chunk.actions[place] for chunk, place in speaking])
        return self._joined(said, speaking[-1][1]).astype(np.float32)

    def _place(self, chunk: Chunk, now: float) -> int:
        """Which of a chunk's actions is due. An action sent within `inference_slack` is still its tick's."""
        late = now - chunk.begun
        return max(0, int((late + 0.5 * (self._period - self.blending.inference_slack)) / self._period))

    def _joined(self, said: np.ndarray, place: int) -> np.ndarray:
        """One action from those (n, Da) that chunks have said, oldest first; `place`: of the newest one's."""
        if self.blending.join == "ensemble":
            weights = np.exp(-self.blending.decay * np.arange(len(said)))
            return (weights[:, None] * said).sum(0) / weights.sum()
        if len(said) == 1 or not self.blending.blend:
            return said[-1]
        share = min(1.0, (place + 1) / (self.blending.blend + 1))
        action = share * said[-1] + (1 - share) * said[-2]
        action[self._grippers] = said[-1][self._grippers]
        return action

    # ------------------------------------------------------------------ the policy's thread

    def _run(self) -> None:
        last_episode = 0
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ending or (self._newest is not None and self._failure is None)
                )
                if self._ending:
                    return
                assert self._newest is not None
                observation, begun, step = self._newest
                self._newest = None
                episode, begins = self._episode, self._episode != last_episode
                unknown_actions = self._actions[self._recorded : step]
                self._recorded, last_episode = step, self._episode
                self._changed.notify_all()
            try:
                actions = self._predict(observation, unknown_actions, begins)
            except Exception as error:  # raised in the control loop, at its next step
                self._keep(episode, error)
                continue
            times = observation.get("times", {})
            captured = min((float(t) for t in times.values()), default=begun)
            self._keep(episode, Chunk(actions, begun, captured, step))

    def _predict(self, observation: Observation, actions: list[np.ndarray], begins: bool) -> np.ndarray:
        if begins:
            self.policy.reset()
        for action in actions:
            self.policy.record_action(action)
        self.policy.observe(observation)
        return self.policy.predict()

    def _keep(self, episode: int, result: Any) -> None:
        with self._changed:
            if episode != self._episode:
                return
            if isinstance(result, Exception):
                self._failure = result
            elif not np.isfinite(result.actions).all():
                self._failure = ValueError("the policy predicted actions that are not finite")
            else:
                self._chunks.append(result)
            self._changed.notify_all()
