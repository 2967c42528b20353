"""A person as the actor of a rollout, alone or above a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from s2robot.core.rollout import Actor
from s2robot.core.spec import Observation
from s2robot.teleop.console import Console
from s2robot.teleop.device import Command, Event, Phase
from s2robot.teleop.steering import Steering
from s2robot.utils.rate import Pace

if TYPE_CHECKING:
    from s2robot.policy.policy import Predictor  # imports torch, which a person alone does not need


class TakeEnded(Exception):
    """A person ends a take, or does not begin it: `event` says what is wanted instead."""

    def __init__(self, event: Event) -> None:
        super().__init__(event)
        self.event = event


class Executor(Actor, Protocol):
    """An actor that executes the chunks of a policy, such as `ChunkExecutor`."""

    policy: Predictor


class Supervised:
    """A policy that goes on where a person has acted in between.

    (HG-DAgger, Kelly et al. 2019: the person decides when to take over and when to hand back.)

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
        """A person took this action: it belongs to the policy's history, and its plan is void."""
        self._executor.policy.observe(observation)
        self._executor.policy.record_action(action)
        self._executor = self._make()


class Person:
    """Turns what a device asks for into actions, one at each tick of the pace.

    Args:
        obstacle: says why no take can begin now, or None.
        policy: acts until the person moves or takes over; without one the person acts throughout, and a take
            begins with the first motion after `start`.

    `by_person` tells for each step of the take whether the person acted.
    """

    def __init__(
        self,
        console: Console,
        pace: Pace,
        steering: Steering,
        obstacle: Callable[[], str | None],
        policy: Supervised | None = None,
    ) -> None:
        self._console, self._pace, self._steering = console, pace, steering
        self._obstacle, self._policy = obstacle, policy
        self.reset()

    def reset(self) -> None:
        self.by_person: list[bool] = []
        self._closed, self._steers = False, self._policy is None
        self._begun = False
        self._steering.reset()
        if self._policy:
            self._policy.reset()

    def act(self, observation: Observation) -> np.ndarray:
        """The action at the next tick. Raises TakeEnded where the person wants no further step."""
        self._show(observation)
        command = self._at_tick() if self._begun else self._begin()
        self._steers = self._steers or command.moves
        self.by_person.append(self._steers)
        return self._steer(observation, command) if self._steers else self._follow(observation)

    def _steer(self, observation: Observation, command: Command) -> np.ndarray:
        action = self._steering.action(observation, command, self._closed)
        if self._policy:
            self._policy.overruled(observation, action)
        return action

    def _follow(self, observation: Observation) -> np.ndarray:
        assert self._policy
        action = self._policy.act(observation)
        self._closed = bool(action[-1] > 0)  # a person who takes over does not drop what is held
        self._steering.reset()
        return action

    def _at_tick(self) -> Command:
        self._pace.wait()
        return self._attend()

    def _begin(self) -> Command:
        """Waits until the person starts the take and, where no policy does, moves."""
        while (event := self._console.wait_for_event()) is Event.START:
            if not (reason := self._obstacle()):
                break
            self._console.show(message=reason)
        else:
            raise TakeEnded(event)
        self._console.enter(Phase.RECORDING, self._advice())
        while not ((command := self._attend()).moves or self._closed or self._policy):
            self._console.idle()
        self._begun = True
        self._console.show(message=self._advice())
        self._pace.start()
        self._pace.wait()
        return command

    def _attend(self) -> Command:
        """What is asked for now; first hears the events, and pauses where nobody is there."""
        while True:
            while event := self._console.event():
                self._hear(event)
            command = self._console.command()
            if not command.absence:
                return command
            self._pause(command.absence)

    def _hear(self, event: Event) -> None:
        match event:
            case Event.GRIPPER:
                self._closed, self._steers = not self._closed, True
                self._console.show(closed=self._closed, by_person=True)
            case Event.TAKE_OVER if self._policy:
                self._steers = not self._steers
                self._console.show(by_person=self._steers)
            case Event.TAKE_OVER:
                self._console.show(message="no policy acts here: nothing to take over")
            case Event.PAUSE:
                self._pause("nothing moves, and no time passes")
            case _:
                raise TakeEnded(event)

    def _pause(self, reason: str) -> None:
        with self._pace.paused():
            self._console.enter(Phase.PAUSED, reason)
            event = self._console.wait_for_event()
        if event not in (Event.START, Event.PAUSE):
            raise TakeEnded(event)
        self._console.enter(Phase.RECORDING, self._advice())

    def _advice(self) -> str:
        if self._policy:
            return "the policy acts: move, or take over, to act yourself"
        return "it ends at success, or when you are done" if self._begun else "move to begin"

    def _show(self, observation: Observation) -> None:
        self._console.show(
            observation["images"],
            steps=len(self.by_person),
            seconds=self._pace.now() if self._begun else 0.0,
            achieved=self._pace.achieved() if self._begun else None,
            jitter=self._pace.jitter() if self._begun else None,
            overruns=self._pace.overruns if self._begun else 0,
            closed=self._closed,
            by_person=self._steers,
            proprio=[float(value) for value in observation["proprio"]],
        )
