"""A person at a device as the overseer of a rollout, alone or above a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from s2robot.core.spec import GripperSpec, Observation
from s2robot.teleop.console import Console
from s2robot.teleop.device import Command, Event, Phase
from s2robot.teleop.steering import Steering
from s2robot.utils.rate import ControlRate


class TakeEnded(Exception):
    """A person ends a take, or begins none: `event` says what is wanted instead, `reason` why, if known."""

    def __init__(self, event: Event, reason: str | None = None) -> None:
        super().__init__(event)
        self.event, self.reason = event, reason


class Person:
    """Turns what a device asks for into actions, one at each tick.

    Args:
        obstacle: says why no take can begin now, or None.
        grippers: of the robot's actions.
        has_policy: a policy acts until the person moves or takes over; without one the person acts
            throughout, and a take begins with the first motion after `start`.
    """

    def __init__(
        self,
        console: Console,
        control_rate: ControlRate,
        steering: Steering,
        obstacle: Callable[[], str | None],
        grippers: Sequence[GripperSpec] = (),
        has_policy: bool = False,
    ) -> None:
        self._console, self._control_rate, self._steering = console, control_rate, steering
        self._obstacle, self._grippers, self._has_policy = obstacle, grippers, has_policy
        self.reset()

    def reset(self) -> None:
        self._steps = 0
        self._closed, self._steers = False, not self._has_policy
        self._begun = False
        self._steering.reset()

    def attend(self, observation: Observation) -> np.ndarray | None:
        """The person's action at the next tick, None where the policy shall act.

        Raises TakeEnded where the person wants no further step.
        """
        self._show(observation)
        command = self._at_tick() if self._begun else self._begin()
        self._steers = self._steers or command.moves
        self._steps += 1
        return self._steering.action(observation, command, self._closed) if self._steers else None

    def followed(self, action: np.ndarray) -> None:
        """The policy took this action: a person who takes over next does not drop what is held."""
        self._closed = any(bool(gripper.is_closed(action)) for gripper in self._grippers)
        self._steering.reset()

    def _at_tick(self) -> Command:
        self._control_rate.wait()
        return self._listen()

    def _begin(self) -> Command:
        """Waits until the person starts the take and, where no policy does, moves."""
        while (event := self._console.wait_for_event()) is Event.START:
            if not (reason := self._obstacle()):
                break
            self._console.show(message=reason)
        else:
            raise TakeEnded(event)
        self._console.enter(Phase.RECORDING, self._advice())
        while not ((command := self._listen()).moves or self._closed or self._has_policy):
            self._console.idle()
        self._begun = True
        self._console.show(message=self._advice())
        self._control_rate.start()
        self._control_rate.wait()
        return command

    def _listen(self) -> Command:
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
            case Event.TAKE_OVER if self._has_policy:
                self._steers = not self._steers
                self._console.show(by_person=self._steers)
            case Event.TAKE_OVER:
                self._console.show(message="no policy acts here: nothing to take over")
            case Event.PAUSE:
                self._pause("nothing moves, and no time passes")
            case _:
                raise TakeEnded(event)

    def _pause(self, reason: str) -> None:
        """Stands still until the person goes on, and says why: nobody is there now, or was not before."""
        with self._control_rate.paused():
            self._console.enter(Phase.PAUSED, reason)
            said = reason
            while (event := self._console.event()) is None:
                now = self._console.command().absence or f"Start goes on (paused: {reason})"
                if now != said:  # else what was just refused could not be read
                    self._console.show(message=now)
                    said = now
                self._console.idle()
        if event not in (Event.START, Event.PAUSE):
            raise TakeEnded(event)
        self._console.enter(Phase.RECORDING, self._advice())

    def _advice(self) -> str:
        if self._has_policy:
            return "the policy acts: move, or take over, to act yourself"
        return "it ends at success, or when you are done" if self._begun else "move to begin"

    def _show(self, observation: Observation) -> None:
        self._console.show(
            observation["images"],
            steps=self._steps,
            seconds=self._control_rate.now() if self._begun else 0.0,
            achieved=self._control_rate.achieved() if self._begun else None,
            jitter=self._control_rate.jitter() if self._begun else None,
            overruns=self._control_rate.overruns if self._begun else 0,
            closed=self._closed,
            by_person=self._steers,
            proprio=[float(value) for value in observation["proprio"]],
        )
