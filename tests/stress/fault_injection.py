"""A policy on a robot for a while, with faults injected on the way: raw figures for docs/results/.

    python -m tests.stress.fault_injection --checkpoint runs/policy --robot robot.yaml --seconds 60 --out OUT

`robot.yaml` is a file such as those in configs/robot/. With `--films DEMOS` its cameras show films made of
these demos, for an arm that has none. After two thirds of the time a command of 1 rad beside is injected,
then one of NaN; at the end the first camera freezes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from s2robot.config import compose, instantiate
from s2robot.config.options import read_options
from s2robot.data.store import DemoStore
from s2robot.deploy.options import DeployOptions
from s2robot.deploy.source import open_policy
from s2robot.policy.checkpoint import checkpoint_sha256
from s2robot.policy.execution.asynchronous import AsynchronousExecutor
from s2robot.robot.arm import ArmCommand
from s2robot.robot.cameras.camera import Camera, Frame
from s2robot.robot.env import RobotEnv
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import machine, versions
from s2robot.utils.rate import ControlRate
from s2robot.utils.video import encode_mp4

_SPACING = 10  # steps between two faults
_FILMED = 20  # demos in a film
_FILM_RATE = 30  # Hz, as cameras have it


class Freezing:
    """A camera that can be frozen."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._frozen: Frame | None = None
        self.shape, self.open, self.close = camera.shape, camera.open, camera.close

    def latest(self) -> Frame:
        return self._frozen or self._camera.latest()

    def freeze(self) -> None:
        """From now on the newest frame is this one."""
        self._frozen = self._camera.latest()


def inject_faults(env: RobotEnv, executor: AsynchronousExecutor, seconds: float) -> dict[str, Any]:
    """Runs for so many seconds, injects the faults, and tells what came of it. The arm stands still then."""
    steps = round(seconds * env.robot_spec.rate)
    name, camera = next(iter(env.cameras.items()))
    freezing = env.cameras[name] = Freezing(camera)
    faults = {2 * steps // 3: _beside, 2 * steps // 3 + _SPACING: _nan}
    observation, _ = env.reset(seed=0)
    executor.reset()
    run = _Run(env, executor)
    for step in range(steps):
        with _injected(env, faults.get(step)):
            observation, info = run.step(observation)
        if step in faults:
            run.faults[faults[step].__name__.strip("_")] = run.last(info)
        if info["stopped"]:
            break
    figures = run.summary()  # before the camera freezes
    if run.stopped is None:
        freezing.freeze()
        since = env.clock.now()
        while run.stopped is None and env.clock.now() - since < 2:
            observation, info = run.step(observation)
        run.faults["frozen_camera"] = {"stopped": run.stopped, "after_s": round(env.clock.now() - since, 3)}
    env.stop("the run is over")
    return {**figures, "faults": run.faults, "counts": dict(env.safe.counts)}


class _Run:
    def __init__(self, env: RobotEnv, executor: AsynchronousExecutor) -> None:
        self._env, self._executor = env, executor
        self.ages: list[float] = []
        self.faults: dict[str, Any] = {}
        self.stopped: str | None = None
        self._before: np.ndarray | None = None

    def step(self, observation: Any) -> tuple[Any, dict[str, Any]]:
        self._before = self._joints()
        action = self._executor.act(observation)
        observation, *_, info = self._env.step(action)
        self.stopped = info["stopped"]
        used = self._executor.used
        if "command_time" in info and used is not None:
            self.ages.append(info["command_time"] - used.captured)
        return observation, info

    def last(self, info: dict[str, Any]) -> dict[str, Any]:
        """What became of the last command: events, and how far its target was from the one before (rad)."""
        moved = None if self._before is None else float(np.abs(self._joints() - self._before).max())
        return {"events": list(info["safety"]), "largest_step_rad": moved, "stopped": info["stopped"]}

    def summary(self) -> dict[str, Any]:
        control_rate: ControlRate = self._env.control_rate
        ages, counts = 1000 * np.array(self.ages), self._env.safe.counts
        shares = {f"p{p}": round(float(np.percentile(ages, p)), 1) for p in (50, 95, 99, 100)}
        return {
            "steps": len(ages),
            "seconds": round(control_rate.now(), 2),
            "achieved_rate": control_rate.achieved(),
            "jitter_ms": 1000 * (control_rate.jitter() or 0.0),
            "overruns": control_rate.overruns,
            "capture_to_command_ms": shares,
            "reflexes": counts["reflex"],
            "watchdog": counts["watchdog"],
            "stopped_before_the_last_fault": self.stopped,
        }

    def _joints(self) -> np.ndarray:
        return self._env.safe.target


def _beside(command: ArmCommand) -> ArmCommand:
    return ArmCommand(command.joints + 1.0, command.gripper)


def _nan(command: ArmCommand) -> ArmCommand:
    return ArmCommand(np.full_like(command.joints, np.nan), command.gripper)


@contextmanager
def _injected(env: RobotEnv, fault: Callable[[ArmCommand], ArmCommand] | None) -> Iterator[None]:
    """The next command is spoilt before the safety layer gets it."""
    command = env.safe.command
    if fault is not None:
        env.safe.command = lambda target: command(fault(target))
    try:
        yield
    finally:
        env.safe.command = command


def films(store: DemoStore, cameras: Iterable[str], folder: Path) -> dict[str, Path]:
    """Camera -> a film of what it saw in the first demos, each frame as long as it lasted.

    Raises UserError for a camera that the store does not have.
    """
    made = {camera: folder / f"{camera}.mp4" for camera in cameras}
    demos = [store.episode(i) for i in store.ids()[:_FILMED]]
    repeat = round(_FILM_RATE / store.spec.rate)
    for camera, path in made.items():
        frames = chain.from_iterable(demo.images(camera).repeat(repeat, axis=0) for demo in demos)
        path.write_bytes(encode_mp4(frames, _FILM_RATE))
    return made


def main() -> None:
    """Runs and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--robot", type=Path, required=True, help="YAML file, as in configs/robot/")
    parser.add_argument("--host", help="of the arm, instead of that in the file")
    parser.add_argument("--films", type=Path, help="demo store whose frames the cameras show")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--inference-slack", type=float, default=0.06, help="s after its tick that a command may be sent"
    )
    parser.add_argument("--threads", type=int, help="of torch; default one a core")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="s2robot-faults-") as folder:
        _run_and_write(options, Path(folder))


def _run_and_write(options: argparse.Namespace, folder: Path) -> None:
    given = [f"checkpoint={options.checkpoint}", f"out={folder}", "max_chunk_age=2"]
    given += [f"inference_slack={options.inference_slack}"]
    given += [] if options.threads is None else [f"threads={options.threads}"]
    deploy = read_options(DeployOptions, compose("deploy", given))
    source = open_policy(deploy)
    robot: Any = OmegaConf.to_container(OmegaConf.load(options.robot), resolve=True)
    if options.host is not None:
        robot["arm"]["host"] = options.host
    if options.films is not None:
        for camera, path in films(DemoStore.open(options.films), robot["cameras"], folder).items():
            robot["cameras"][camera]["source"] = str(path)
    env: RobotEnv = instantiate(robot)
    before = os.getloadavg()[0]
    executor = source.executor(env, deploy.blending)
    try:
        env.connect()
        executor.act(env.look())  # the first prediction is slow: it warms up
        result = inject_faults(env, executor, options.seconds)
    finally:
        executor.close()
        env.close()
    about = {
        "checkpoint_sha256": checkpoint_sha256(options.checkpoint),
        "blending": asdict(deploy.blending),
        "threads": options.threads,
        "robot": {
            key: robot[key] for key in ("rate", "velocity", "acceleration", "max_target_lead", "workspace")
        },
        "load_average": [round(load, 2) for load in (before, os.getloadavg()[0])],
        "machine": machine(),
        "versions": versions(),
    }
    write_json(options.out, result | about)
    print(f"{result['steps']} steps at {result['achieved_rate']:.2f} Hz: open {options.out}")


if __name__ == "__main__":
    main()
