"""What the safety layer says of a command, and when it calls a measurement stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s2robot.robot.arm import ArmCommand, ArmState

_AHEAD = 0.05  # s: a measurement from further in the future shows that clocks disagree


@dataclass(frozen=True)
class Deadlines:
    """After which silence (s) the arm is stopped.

    Attributes:
        command: nobody commands. state: the arm's measurement is that old. image: a camera's frame is.
    """

    command: float = 0.3
    state: float = 0.2
    image: float = 0.2


@dataclass(frozen=True, eq=False)
class Applied:
    """What became of a command.

    Attributes:
        command: what the arm was sent, or holds where nothing was.
        events: what acted: `joint_limit`, `max_target_lead`, `velocity`, `acceleration`, `workspace`,
            `gripper`; `not_finite`, `wrong_shape` and `too_soon` for a command that was refused.
        time: when it was sent (s).
    """

    command: ArmCommand
    events: tuple[str, ...]
    time: float


@dataclass(frozen=True)
class Incident:
    """Something that the layer did: when (s), what, and in words why."""

    time: float
    kind: str
    detail: str


class Stopped(Exception):
    """The arm stands still and takes no commands: the message says why."""


def stale_state(state: ArmState | None, now: float, deadlines: Deadlines) -> str | None:
    """In words, that an arm's state is too old at `now` (s), or from the future; None where it is neither."""
    if state is None:
        return "the arm has sent no state"
    return _stale("the arm's state", now - state.time, deadlines.state)


def stale_image(times: Mapping[str, float], now: float, deadlines: Deadlines) -> str | None:
    """Likewise of the first camera whose newest frame is, by the times (s) when they were captured."""
    stale = (_stale(f"camera {name}", now - time, deadlines.image) for name, time in times.items())
    return next(filter(None, stale), None)


def _stale(source: str, age: float, most: float) -> str | None:
    if -_AHEAD <= age <= most:
        return None
    return f"{source} is {age:.2f} s old: expected at most {most:g} s"
