"""What is looked at before a robot moves, without moving it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, PolicySilent
from s2robot.robot.env import RobotEnv
from s2robot.robot.safety_events import Stopped
from s2robot.utils.rate import ControlRate

_TICKS = 20
_LOOK = 1.0  # s
_LATE = 0.1  # share of ticks that may be late
_SLOWING = {
    "velocity",
    "acceleration",
    "max_target_lead",
}  # events that shorten a motion and keep its direction
_LEAST_LEFT = 0.05  # share of the motion asked for: below, policy and robot differ in units or speed


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, whether it is as it must be, and in words what was found."""

    name: str
    good: bool
    found: str
    is_speed: bool = False  # a faster computer would mend it, as would slow motion

    def __str__(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'} {self.name}: {self.found}"


def look(env: RobotEnv, policy: RobotSpec, recover: bool = False) -> list[Check]:
    """Everything but the policy; `recover` clears a reflex first.

    Raises UserError where the arm or a camera is not there.
    """
    env.connect()
    if recover:
        env.recover()
    difference = policy.difference(env.robot_spec.select_cameras(list(policy.cameras)))
    fits = Check("robot", difference is None, difference or f"as in training, {policy.action_space}")
    return [fits, _clock(env), *look_through(env), _arm(env)]


def dry_run(env: RobotEnv, executor: AsynchronousExecutor, seconds: float, max_clamped: float) -> list[Check]:
    """Predicts at the robot's rate from what is seen now, and asks the safety layer without moving.

    Args:
        max_clamped: share of the actions that the safety layer may change by more than slowing them.
    """
    executor.reset()
    rate = env.robot_spec.rate
    executor.act(env.look())  # the first prediction is slow: it warms up
    executor.reset()
    executor.act(env.look())
    control_rate = ControlRate(rate, env.clock.now, env.clock.sleep)
    previews: list[tuple[list[str], float]] = []
    for _ in range(max(2, round(seconds * rate))):
        control_rate.wait()
        try:
            action = executor.act(env.look())
        except PolicySilent as error:
            return [Check("dry run", False, str(error), is_speed=True)]
        previews.append(env.preview(action))
    achieved, ages = control_rate.achieved() or 0.0, 1000 * np.array(executor.ages[1:])
    lag = f"{np.median(ages):.0f} ms median, {np.percentile(ages, 99):.0f} ms at most in 99 of 100"
    in_time = bool(ages.max() < 1000 * executor.blending.max_chunk_age)
    return [
        Check("rate", abs(achieved - rate) < 0.05 * rate, f"{achieved:.2f} of {rate:g} Hz", is_speed=True),
        Check("capture to command", in_time, lag, is_speed=True),
        _clamped(previews, max_clamped),
    ]


def _clamped(previews: list[tuple[list[str], float]], most: float) -> Check:
    """Whether the safety layer would have changed too many actions, or slowed them to next to nothing.

    From a stand every quick motion is too sudden: that some of it is slowed says nothing of the policy.
    """
    changed = Counter(kind for events, _ in previews for kind in set(events) - _SLOWING)
    acted = sum(bool(set(events) - _SLOWING) for events, _ in previews)
    slowed = sum(bool(set(events) & _SLOWING) for events, _ in previews)
    left = float(np.median([share for _, share in previews]))
    how = f" ({', '.join(f'{kind} {count}' for kind, count in changed.most_common())})" if changed else ""
    found = (
        f"of {len(previews)} actions the safety layer would have changed {acted}{how} and slowed {slowed}, "
        f"to {left:.0%} of the motion asked for (median)"
    )
    if acted > most * len(previews):
        return Check("dry run", False, f"{found}: more than max_clamped={most:g} of them are changed")
    if left < _LEAST_LEFT:
        return Check("dry run", False, f"{found}: less than {_LEAST_LEFT:.0%}")
    return Check("dry run", True, found)


def refuse(checks: list[Check], force: bool, realtime_factor: float | None = None) -> None:
    """Raises UserError where a check failed, unless `force`.

    Args:
        realtime_factor: of a simulated robot, which may be slower than real time; None of hardware.
    """
    failed = [check for check in checks if not check.good]
    if not failed or force:
        return
    advice = "force=true goes on all the same"
    if all(check.is_speed for check in failed):
        slower = "an encoder or sizes that cost less, threads=1, or server= on a faster computer"
        if realtime_factor is not None:
            slower = f"robot.realtime_factor={realtime_factor / 4:.2g} simulates in slow motion"
        advice = f"this computer is too slow: {slower}"
    raise UserError(f"nothing was moved: {', '.join(check.name for check in failed)} failed; {advice}")


def _clock(env: RobotEnv) -> Check:
    control_rate = ControlRate(env.robot_spec.rate, env.clock.now, env.clock.sleep)
    for _ in range(_TICKS):
        control_rate.wait()
    jitter = 1000 * (control_rate.jitter() or 0.0)
    late = f"{control_rate.overruns} of {_TICKS} ticks late, jitter {jitter:.1f} ms"
    return Check("clock", control_rate.overruns <= _LATE * _TICKS, late, is_speed=True)


def look_through(env: RobotEnv) -> list[Check]:
    """Whether each camera, of a robot that is connected, gives fresh frames that are not black."""
    before = {name: camera.latest() for name, camera in env.cameras.items()}
    env.clock.sleep(_LOOK)
    now, most = env.clock.now(), env.safe.deadlines.image
    checks = []
    for name, camera in env.cameras.items():
        frame = camera.latest()
        fps, age = (frame.number - before[name].number) / _LOOK, now - frame.time
        dark = " and black" if not frame.image.any() else ""
        found = f"{fps:.1f} frames a second, the newest {1000 * age:.0f} ms old{dark}"
        fresh = fps > 0 and -most < age < most
        checks.append(Check(f"camera {name}", fresh and not dark, found, is_speed=fps > 0 and not dark))
    return checks


def _arm(env: RobotEnv) -> Check:
    try:
        state = env.safe.observe()
    except Stopped as error:
        return Check("arm", False, str(error))
    age = env.clock.now() - state.time
    problem = env.safe.motion_limits.obstacle(env.home) or (
        None if age < env.safe.deadlines.state else f"its state is {age:.2f} s old"
    )
    return Check("arm", problem is None, problem or f"{len(state.joints)} joints, home within its limits")
