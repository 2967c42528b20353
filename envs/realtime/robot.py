"""`robot=mujoco`: the cube-pick scene in real time, behind the safety layer of the real arms."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from envs.realtime.world import Link, Shared, Snapshot, render, simulate
from s2robot.core.errors import UserError
from s2robot.core.task import Start
from s2robot.robot.arm import ArmCommand, ArmError, ArmLimits, ArmState, Mode, refuse_latched
from s2robot.robot.arms.models import PANDA_HOME, panda_kinematics, panda_limits
from s2robot.robot.cameras.camera import Frame
from s2robot.robot.clock import Clock
from s2robot.robot.env import RobotEnv
from s2robot.robot.kinematics import Kinematics
from s2robot.tasks.cube_pick import CubePose, check_options
from s2robot.tasks.cube_pick_failures import Scene

_STARTUP = 600.0  # real s
_ANSWER = 30.0  # s


class LiveWorld:
    """The processes, and the pipe to the physics. `SLICE` is how long they take to hear."""

    def __init__(
        self, cameras: Sequence[str], size: int, link: Link, clock: Clock, seed: int, eyes: tuple[Any, ...]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.shared, self.clock = Shared(context, cameras, size), clock
        self._pipe, theirs = context.Pipe()
        self._numbers = itertools.count(1)
        realtime_factor, (fps, drop, style) = clock.realtime_factor, eyes
        self._processes = [
            context.Process(
                target=simulate, args=(self.shared, theirs, link, realtime_factor, seed), daemon=True
            ),
            context.Process(
                target=render, args=(self.shared, fps, drop, realtime_factor, seed, style), daemon=True
            ),
        ]
        for process in self._processes:
            process.start()
        theirs.close()
        self._wait(self._is_seen, _STARTUP * clock.realtime_factor, "has not started")

    def tell(self, kind: str, content: Any = None) -> int:
        """Has the physics do something, and returns at once the request's number."""
        number = next(self._numbers)
        try:
            self._pipe.send((kind, number, content))
        except OSError as error:
            raise ArmError(f"the simulation is gone: {error}") from error
        return number

    def ask(self, kind: str, content: Any = None) -> None:
        """Likewise, and returns when it is done. Raises ArmError where that takes too long."""
        number = self.tell(kind, content)
        self._wait(lambda: self.snapshot().answered >= number, _ANSWER, f"does not answer to {kind}")

    def snapshot(self) -> Snapshot:
        """The world as it was last. Raises ArmError where the simulation has ended."""
        world = self.shared.snapshot()
        if world is None or not self._processes[0].is_alive():
            raise ArmError("the simulation has ended")
        return world

    def close(self) -> None:
        """Ends the processes."""
        self._pipe.close()
        for process in self._processes:
            process.terminate()
            process.join(10)

    def _is_seen(self) -> bool:
        frames = all(self.shared.frame(name)[2] for name in self.shared.cameras)
        return frames and self.shared.snapshot() is not None

    def _wait(self, condition: Any, seconds: float, problem: str) -> None:
        deadline = self.clock.now() + seconds
        while not condition():
            if self.clock.now() > deadline or not all(p.is_alive() for p in self._processes):
                raise ArmError(f"the simulation {problem}")
            self.clock.sleep(0.005)


class LiveArm:
    """The simulated Panda as a driver."""

    limits: ArmLimits = panda_limits()
    kinematics: Kinematics = panda_kinematics()

    def __init__(self, world: LiveWorld) -> None:
        self.world = world
        self._mode = Mode.CLOSED

    def connect(self) -> None:
        self._mode = Mode.STOPPED

    def close(self) -> None:
        self._mode = Mode.CLOSED

    def observe(self) -> ArmState:
        world = self.world.snapshot()
        return ArmState(world.joints, world.opening, world.time)

    def command(self, command: ArmCommand) -> ArmCommand:
        self.world.snapshot()
        self.world.tell("command", (self.world.clock.now(), command.joints, command.gripper))
        return command

    def home(self, joints: np.ndarray, opening: float) -> None:
        self.world.ask("home", (joints, opening))

    def stop(self) -> None:
        self._mode = Mode.STOPPED
        self.world.tell("stop")

    def resume(self) -> None:
        refuse_latched(self._mode)
        self.world.ask("resume")
        if self._mode is Mode.ESTOP:  # it came meanwhile
            self.world.tell("stop")
        refuse_latched(self._mode)
        self._mode = Mode.READY

    def estop(self) -> None:
        self._mode = Mode.ESTOP
        self.world.tell("stop")

    def recover(self) -> None:
        self.world.snapshot()
        self._mode = Mode.STOPPED

    def state(self) -> Mode:
        return self._mode


class LiveCamera:
    """A camera of the simulated scene."""

    def __init__(self, world: LiveWorld, name: str) -> None:
        self._world, self._name = world, name
        self.shape = (world.shared.size, world.shared.size, 3)

    def open(self) -> None:
        """It sees already."""

    def latest(self) -> Frame:
        return Frame(*self._world.shared.frame(self._name))

    def close(self) -> None:
        """The world is closed as a whole."""


class LiveScene:
    """What a simulated scene knows and a real one does not."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world

    def lay_out(self, seed: int, options: Mapping[str, Any]) -> None:
        check_options(options)  # here: an error of the physics process would be lost
        self._world.ask("lay_out", (seed, dict(options)))

    def success(self) -> bool:
        with suppress(ArmError):  # the arm tells that the simulation is gone
            return self._world.snapshot().success
        return False


class LiveCubePick(RobotEnv):
    """`CubePick` in real time.

    Args:
        latency, jitter: s from a command to the arm, on average and its deviation.
        drop: share of the frames that are lost. fps: of the cameras, at most (Hz).
        realtime_factor: below 1, slow motion, for machines that cannot simulate in time.
        seed: of latencies and losses.
        style: `multisampling`, `shadows`, `reflections` of `CubePick`.
        options: of `RobotEnv`.

    Raises UserError where the simulation does not start.
    """

    def __init__(
        self,
        cameras: Sequence[str] = ("front", "wrist"),
        image_size: int = 448,
        latency: float = 0.03,
        jitter: float = 0.005,
        drop: float = 0.0,
        fps: float = 20.0,
        realtime_factor: float = 1.0,
        seed: int = 0,
        style: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if not (0 <= drop < 1 and latency >= 0 and jitter >= 0 and fps > 0):
            raise UserError(
                f"latency={latency} jitter={jitter} drop={drop} fps={fps}: expected no negative times, "
                "a share of lost frames from 0 to below 1, and frames"
            )
        clock = Clock(realtime_factor)
        eyes = (fps, drop, dict(style or {}))
        try:
            self._world = LiveWorld(cameras, image_size, Link(latency, jitter), clock, seed, eyes)
        except ArmError as error:
            raise UserError(str(error)) from error
        super().__init__(
            LiveArm(self._world),
            {name: LiveCamera(self._world, name) for name in cameras},
            home=options.pop("home", PANDA_HOME.tolist()),
            scene=LiveScene(self._world),
            clock=clock,
            **options,
        )

    def cube(self) -> CubePose:
        """(x, y, yaw) of the cube now (m, rad; table frame): for experts and tests, never a policy."""
        world = self._world.snapshot()
        return float(world.scene[3]), float(world.scene[4]), world.yaw

    def start(self) -> Start:
        """As `CubePick.start`."""
        return Start(place=self.cube())

    def scene(self) -> Scene:
        """Gripper and cube now (m, table frame): for the evaluation, never a policy."""
        world = self._world.snapshot()
        return Scene(world.scene[:3].tolist(), world.opening, world.scene[3:].tolist())

    @property
    def slips(self) -> int:
        """How often the physics came too late: if ever, the machine is too slow for `realtime_factor`."""
        return self._world.snapshot().slips

    def close(self) -> None:
        super().close()
        self._world.close()
