"""The cube-pick scene in real time, in processes of its own: one for the physics, one for the frames.

They share memory with whoever started them: the physics writes the newest state, the renderer reads it and
writes frames, each with the time of the state it shows.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from s2robot.robot.clock import Clock

SLICE = 0.02  # s between two looks of the physics at its commands
HOLD = 0.5  # s that the cube is held up for success, as `CubePick` at 10 Hz has it
_GRIPPER_EVERY = 5  # slices: robosuite moves the fingers by a fixed amount a call, made for 10 Hz
_HOMING = 1.0  # rad/s
_STATE = 64  # numbers that are shared, at most


@dataclass(frozen=True)
class Link:
    """What lies between an arm and its computer: s until a command arrives, on average and its deviation."""

    latency: float
    jitter: float


@dataclass(frozen=True)
class Snapshot:
    """The world at one moment.

    Attributes:
        time: s on the session's clock. joints: (7,) rad. opening: m.
        scene: gripper and cube, 3 + 3 numbers (m, table frame). yaw: of the cube, rad.
        success: whether the cube has been held up for `HOLD`.
        slips: slices that came too late: simulated time then stands still for a moment.
        answered: number of the last request that is done. qpos: all of MuJoCo's.
    """

    time: float
    joints: np.ndarray
    opening: float
    scene: np.ndarray
    yaw: float
    success: bool
    slips: int
    answered: int
    qpos: np.ndarray


class Shared:
    """The newest snapshot and frames, for all processes."""

    def __init__(self, context: Any, cameras: Sequence[str], size: int) -> None:
        self.cameras, self.size = list(cameras), size
        self._state = context.Array("d", _STATE + 1)  # and how many they are
        self._frames = {name: context.Array("B", size * size * 3) for name in cameras}
        self._times = {name: context.Array("d", 2) for name in cameras}

    def publish(self, s: Snapshot) -> None:
        numbers = [s.time, s.opening, s.yaw, s.success, s.slips, s.answered, *s.joints, *s.scene, *s.qpos]
        assert len(numbers) <= _STATE
        with self._state.get_lock():
            self._state[: len(numbers)] = numbers
            self._state[-1] = len(numbers)

    def snapshot(self) -> Snapshot | None:
        """None before the first."""
        with self._state.get_lock():
            numbers = np.array(self._state[: int(self._state[-1])])
        if not len(numbers):
            return None
        time, opening, yaw, success, slips, answered = numbers[:6]
        rest = numbers[6:]
        return Snapshot(
            time, rest[:7], opening, rest[7:13], yaw, bool(success), int(slips), int(answered), rest[13:]
        )

    def show(self, camera: str, image: np.ndarray, time: float) -> None:
        with self._frames[camera].get_lock():
            np.frombuffer(self._frames[camera].get_obj(), np.uint8)[:] = image.ravel()
            self._times[camera][0] = time
            self._times[camera][1] += 1

    def frame(self, camera: str) -> tuple[np.ndarray, float, int]:
        """The newest frame, its time, and how many there were; 0 where there was none."""
        with self._frames[camera].get_lock():
            image = np.frombuffer(self._frames[camera].get_obj(), np.uint8).copy()
            time, count = self._times[camera][:]
        return image.reshape(self.size, self.size, 3), time, int(count)


def _leave_ctrl_c_to_the_session() -> None:
    """A terminal sends it to all processes. The session still has an arm to stop, and an arm outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def simulate(shared: Shared, pipe: Connection, link: Link, realtime_factor: float, seed: int) -> None:
    """The physics process: until the other end of the pipe is closed."""
    _leave_ctrl_c_to_the_session()
    from envs.cube_pick import CubePick

    class Blind(CubePick):
        """Its frames are somebody else's business."""

        def _observe(self) -> dict[str, Any]:
            return {"images": {}, "proprio": self._proprio()}

    env = Blind(["front"], 16, action_space="joint", rate=1 / SLICE, max_steps=10**9)
    env.reset(seed=seed)
    try:
        _World(env, shared, pipe, link, Clock(realtime_factor), seed).run()
    except (EOFError, BrokenPipeError):
        pass
    finally:
        env.close()


class _World:
    def __init__(
        self, env: Any, shared: Shared, pipe: Connection, link: Link, clock: Clock, seed: int
    ) -> None:
        self._env, self._shared, self._pipe, self._link, self._clock = env, shared, pipe, link, clock
        self._rng = np.random.default_rng(seed)
        self._commands: deque[tuple[float, np.ndarray, float]] = deque()
        self._held = self._slips = self._answered = self._slices = 0
        self._ignoring = True
        self._homing: tuple[int, np.ndarray] | None = None
        self._closed: bool | None = None  # None: the fingers stay as the scene was laid out
        self._hold()

    def run(self) -> None:
        due = self._clock.now()
        while True:
            while self._pipe.poll():
                self._hear(*self._pipe.recv())
            self._advance()
            self._publish()
            due += SLICE
            late = self._clock.now() - due
            if late > SLICE:
                self._slips += 1
                due = self._clock.now()
            self._clock.sleep(-late)

    def _hear(self, kind: str, number: int, content: Any) -> None:
        match kind:
            case "command":
                sent, joints, opening = content
                delay = max(0.0, self._rng.normal(self._link.latency, self._link.jitter))
                self._commands.append((sent + delay, joints, opening))
                return
            case "stop":
                self._ignoring = True
                self._hold()
            case "resume":
                self._ignoring = False
                self._hold()
            case "lay_out":
                seed, options = content
                self._env.reset(seed=seed, options=options)
                self._hold()
                self._closed, self._held = None, 0
            case "home":
                joints, _ = content
                self._closed, self._homing = False, (number, joints)
                return
        self._answered = number

    def _hold(self) -> None:
        self._commands.clear()
        self._homing = None
        proprio = self._env._proprio()
        self._target = proprio[:7].astype(float)

    def _advance(self) -> None:
        while self._commands and self._commands[0][0] <= self._clock.now():
            _, joints, opening = self._commands.popleft()
            if not self._ignoring and self._homing is None:
                self._target, self._closed = joints, opening < 0.04
        if self._homing is not None:
            number, goal = self._homing
            step = np.clip(goal - self._target, -_HOMING * SLICE, _HOMING * SLICE)
            self._target = self._target + step
            if not step.any():
                self._homing, self._answered = None, number
        self._env.step(np.append(self._target, self._fingers()))
        self._slices += 1
        self._held = self._held + 1 if self._env.cube_height() > 0.05 else 0

    def _fingers(self) -> float:
        """The gripper's command for this slice: 1 closes, -1 opens, 0 leaves the fingers where they are."""
        if self._closed is None or self._slices % _GRIPPER_EVERY:
            return 0.0
        return 1.0 if self._closed else -1.0

    def _publish(self) -> None:
        env = self._env
        scene, proprio, qpos = env.scene(), env._proprio(), env.mujoco[1].qpos.copy()
        places, yaw = np.array([*scene.gripper, *scene.cube]), env.cube()[2]
        joints, opening = proprio[:7].astype(float), float(proprio[7])
        success = self._held * SLICE >= HOLD
        now, done = self._clock.now(), self._answered
        self._shared.publish(Snapshot(now, joints, opening, places, yaw, success, self._slips, done, qpos))


def render(
    shared: Shared, fps: float, drop: float, realtime_factor: float, seed: int, style: dict[str, Any]
) -> None:
    """The renderer's process: until its parent ends.

    Args:
        fps: frames a second of each camera (Hz), at most. drop: share of the frames that are lost.
    """
    _leave_ctrl_c_to_the_session()
    from envs.cube_pick.env import CubePick, mujoco

    env = CubePick(shared.cameras, shared.size, **style)
    env.reset(seed=0)
    (model, data), clock, rng = env.mujoco, Clock(realtime_factor), np.random.default_rng(seed)
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        started = clock.now()
        world = shared.snapshot()
        if world is not None:
            data.qpos[:] = world.qpos
            mujoco.mj_forward(model, data)
            for name in shared.cameras:
                image = env._renderer.render(data, name)
                if rng.uniform() >= drop:
                    shared.show(name, image, world.time)
        clock.sleep(max(1 / fps - (clock.now() - started), 0.001))
