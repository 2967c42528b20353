"""A person at a device: takes, their review, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.rollout import Subscriber, run_episode
from s2robot.core.spec import Observation
from s2robot.core.task import Start
from s2robot.data.idle import idle_share, idle_text
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.teleop.console import Console
from s2robot.teleop.device import Event, Phase, Status, TeleopDevice
from s2robot.teleop.human import Person, TakeEnded
from s2robot.teleop.rate import RealTime
from s2robot.teleop.steering import make_steering
from s2robot.teleop.supervision import Overrulable, Supervision
from s2robot.teleop.writer import BackgroundWriter
from s2robot.utils.rate import ControlRate, FollowedRate

_SLOW = 0.95  # of the rate: below, a take is called slow
_MOST_WRITING = 3  # demos on their way to the disk, all in memory: meanwhile no further take begins


@dataclass(frozen=True)
class SessionOptions:
    """Of `s2robot record`: the seed of the starts, the demos that are wanted, the steps that end a take."""

    seed: int
    episodes: int
    limit: int


class EpisodeStart(Subscriber):
    """The start of the episode: that of the environment's `start()`, else the seed alone."""

    def __init__(self, env: gymnasium.Env) -> None:
        self._env = env.unwrapped
        self.start = Start()

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        start = getattr(self._env, "start", None)
        self.start = Start() if start is None else start()


class Session:
    """One person, one device, one environment and one store, until `finish`.

    Args:
        options: of the session.
        attributes: what is stored with every demo of this session.
        policy: acts until the person takes over.

    Raises UserError where the store cannot be written to or nobody could steer the environment.
    """

    def __init__(
        self,
        options: SessionOptions,
        env: gymnasium.Env,
        store: DemoStore,
        device: TeleopDevice,
        attributes: dict[str, Any],
        policy: Overrulable | None = None,
    ) -> None:
        self._seed, self._attributes = options.seed, attributes
        self._store, self._before, self._next = store, len(store), _next_start(store)
        self._env, self._start = env, EpisodeStart(env)
        own: ControlRate | None = getattr(
            env.unwrapped, "control_rate", None
        )  # a real arm keeps its rate itself
        self._control_rate = ControlRate(store.spec.rate) if own is None else FollowedRate(own)
        self._live = RealTime(env, self._control_rate, options.limit)
        status = Status(rate=store.spec.rate, target=options.episodes)
        self._console = Console(device, status, self._refresh)
        has_policy, grippers = policy is not None, store.spec.grippers
        steering = make_steering(env)
        person = Person(self._console, self._control_rate, steering, self._obstacle, grippers, has_policy)
        self._actor = Supervision(person, policy)
        self._writer = BackgroundWriter(store)
        self._recorder = Recorder()
        self._undoes: str | None = None  # the demo that is dropped when undo is asked for once more
        self._invitation = device.invitation

    def run(self) -> None:
        """Records until the person finishes. Ctrl-C finishes too, and loses the running take.

        Raises UserError where demos that were kept cannot be written.
        """
        print(self._invitation, flush=True)
        self._say("Start begins a take")
        try:
            while self._take():
                pass
        except KeyboardInterrupt:
            print("\ninterrupted: the running take, if any, is not kept")
        finally:
            try:
                self._writer.close()
            finally:
                count = self._before + len(self._writer.committed)
                self._console.enter(Phase.FINISHED, f"{count} demos in {self._store.path}")

    # ------------------------------------------------------------------ one take

    def _take(self) -> bool:
        """One take and what the person wants done with it. False: the session is over."""
        self._recorder = Recorder()
        self._console.show(phase=Phase.WAITING)
        try:
            return self._settle(self._roll())
        except UserError as error:
            print(error, flush=True)
            self._console.enter(Phase.TROUBLE, f"{error}. The take is lost: Home tries again")
            return self._settle(self._console.wait_for_event())

    def _roll(self) -> Event:
        """Runs the episode to its end, and says what the person wants done."""
        self._success = False
        try:
            outcome = run_episode(
                self._live, self._actor, seed=self._env_seed(), subscribers=[self._recorder, self._start]
            )
            self._success = outcome.success
        except TakeEnded as ended:
            if ended.event is not Event.KEEP:
                return ended.event
        return self._review()

    def _review(self) -> Event:
        """Plays the take, at twice its speed at 10 Hz, until the person has decided."""
        if not self._recorder.steps:
            return Event.REDO
        outcome = "success" if self._success else "no success"
        self._console.show(success=self._success, steps=self._recorder.steps)
        self._console.enter(Phase.REVIEW, f"{outcome} after {self._account()}")
        step = 0
        while (event := self._console.event()) is None:
            self._console.idle(self._recorder.images(step), replay=step)
            step = (step + 1) % self._recorder.steps
        self._console.status.replay = None
        return event

    def _settle(self, event: Event) -> bool:
        self._undoes = self._undoes if event is Event.UNDO else None
        match event:
            case Event.KEEP:
                self._keep()
            case Event.DISCARD:
                self._say("discarded: nothing of the take is left")
            case Event.REDO:
                self._say("once more, from the same start")
            case Event.UNDO:
                self._undo()
            case Event.HOME:
                self._say("laid out anew")
            case Event.STOP:
                return self._stop()
            case Event.FINISH:
                return False
        self._next += event in (Event.KEEP, Event.DISCARD, Event.HOME)
        return True

    def _keep(self) -> None:
        by_person = self._actor.by_person
        attributes = {
            "success": self._success,
            "seed": self._env_seed(),
            "start": self._start.start.to_dict(),
            "start_number": self._next,
            "action_loss_mask": by_person,
            "by_person": by_person,
            "timing": self._control_rate.attributes(),
            "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._attributes,
        }
        self._writer.put(self._recorder.episode(attributes))
        self._say(f"kept: {self._account()}")
        print(
            f"demo {self._before + len(self._writer.committed) + self._writer.pending}: {self._account()}",
            flush=True,
        )

    def _undo(self) -> None:
        """Drops the last demo of this session, when it is asked for twice in a row."""
        self._writer.flush()
        if self._writer.pending or not self._writer.committed:
            self._say(self._writer.error or "no demo of this session is left to undo")
            return
        last = self._writer.committed[-1]
        if self._undoes != last:
            self._undoes = last
            self._say(f"undo once more to drop demo {last}")
            return
        self._store.drop(last)
        self._writer.committed.pop()
        self._say(f"demo {last} is dropped")

    def _stop(self) -> bool:
        """Nothing moves until `home`; an arm that has an emergency stop of its own uses it."""
        arm = self._env.unwrapped
        getattr(arm, "estop", lambda: None)()
        self._console.enter(Phase.STOPPED, "emergency stop, the take is lost: Home releases it")
        released = self._console.wait_for_event() is Event.HOME
        if released:
            getattr(arm, "recover", lambda: None)()
            self._say("released")
        return released

    # ------------------------------------------------------------------ what is said

    def _env_seed(self) -> int:
        return int(np.random.SeedSequence([self._seed, self._next]).generate_state(1)[0])

    def _say(self, message: str) -> None:
        self._console.show(message=message)

    def _account(self) -> str:
        """`84 steps (8.4 s, 9.98 Hz), 12 % idle`, and where that was too slow by how much."""
        steps, timing = self._recorder.steps, self._control_rate.attributes()
        achieved, rate = timing["achieved_rate"] or timing["rate"], timing["rate"]
        text = f"{steps} steps ({steps / achieved:.1f} s, {achieved:.2f} Hz)"
        take = self._recorder.episode({})
        text += f", {idle_text(idle_share([take.action], [take.proprio], self._store.spec))}"
        slow = f": too slow, {rate:g} Hz was wanted, {timing['overruns']} steps came late"
        return text + (slow if achieved < _SLOW * rate else "")

    def _refresh(self, status: Status) -> None:
        status.demos, status.writing = self._before + len(self._writer.committed), self._writer.pending
        if status.phase is Phase.WAITING and self._writer.error:
            status.message = f"{self._writer.error}: {status.writing} kept in memory, Start tries again"

    def _obstacle(self) -> str | None:
        if self._writer.error:
            self._writer.retry()
            self._writer.flush()
        if self._writer.pending >= _MOST_WRITING:
            return f"{self._writer.pending} demos are still being written"
        return self._writer.error


def _next_start(store: DemoStore) -> int:
    """The number of the first start position that no demo of the store has."""
    ids = store.ids()
    return store.episode(ids[-1]).attributes.get("start_number", -1) + 1 if ids else 0
