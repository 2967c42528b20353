"""What is looked at before a robot moves, without moving it."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, whether it is as it must be, and in words what was found."""

    name: str
    good: bool
    found: str

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


def dry_run(env: RobotEnv, executor: AsynchronousExecutor, seconds: float) -> list[Check]:
    """Predicts at the robot's rate from what is seen now, and asks the safety layer without moving."""
    executor.reset()
    rate = env.robot_spec.rate
    executor.act(env.look())  # the first prediction is slow: it warms up
    executor.reset()
    executor.act(env.look())
    control_rate, events, steps = (
        ControlRate(rate, env.clock.now, env.clock.sleep),
        0,
        max(2, round(seconds * rate)),
    )
    for _ in range(steps):
        control_rate.wait()
        try:
            action = executor.act(env.look())
        except PolicySilent as error:
            return [Check("dry run", False, str(error))]
        events += bool(env.preview(action))
    achieved, ages = control_rate.achieved() or 0.0, 1000 * np.array(executor.ages[1:])
    lag = f"{np.median(ages):.0f} ms median, {np.percentile(ages, 99):.0f} ms at most in 99 of 100"
    return [
        Check("rate", abs(achieved - rate) < 0.05 * rate, f"{achieved:.2f} of {rate:g} Hz"),
        Check("capture to command", bool(ages.max() < 1000 * executor.blending.max_chunk_age), lag),
        Check("dry run", True, f"the safety layer would have acted on {events} of {steps} actions"),
    ]


def refuse(checks: list[Check], force: bool) -> None:
    """Raises UserError where a check failed, unless `force`."""
    failed = [check.name for check in checks if not check.good]
    if failed and not force:
        raise UserError(f"nothing was moved: {', '.join(failed)} failed; force=true goes on all the same")


def _clock(env: RobotEnv) -> Check:
    control_rate = ControlRate(env.robot_spec.rate, env.clock.now, env.clock.sleep)
    for _ in range(_TICKS):
        control_rate.wait()
    jitter = 1000 * (control_rate.jitter() or 0.0)
    late = f"{control_rate.overruns} of {_TICKS} ticks late, jitter {jitter:.1f} ms"
    return Check("clock", control_rate.overruns <= _LATE * _TICKS, late)


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
        checks.append(Check(f"camera {name}", fps > 0 and -most < age < most and not dark, found))
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
