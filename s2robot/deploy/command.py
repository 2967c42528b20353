"""`s2robot deploy`: checks, rollouts on a robot, the store they lie in, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from s2robot.config import instantiate
from s2robot.config.options import to_plain
from s2robot.core.errors import UserError, unknown
from s2robot.core.task import Start, Task
from s2robot.data.store import DemoStore
from s2robot.deploy.checks import dry_run, look, refuse
from s2robot.deploy.operator import Mark, Nobody, Operator, Page, Terminal
from s2robot.deploy.options import DeployOptions
from s2robot.deploy.result import outcome_of, outcomes, write
from s2robot.deploy.rollout import Rollout, roll_out
from s2robot.deploy.source import PolicySource, open_policy
from s2robot.evaluation.rollouts import env_seed
from s2robot.policy.execution.asynchronous import AsynchronousExecutor
from s2robot.robot.env import RobotEnv
from s2robot.tasks import load_task
from s2robot.teleop.console import Console
from s2robot.teleop.device import Phase, Status, TeleopDevice
from s2robot.teleop.steering import make_steering
from s2robot.teleop.view import camera_axes
from s2robot.utils.provenance import versions
from s2robot.utils.signals import Terminated
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.foreign import foreign_frames


def main(options: DeployOptions) -> None:
    """Rolls out from the starts that are left, and writes what became of all of them into `out`.

    Raises UserError where a check fails, the robot is not there, or is not the one the policy knows.
    """
    if options.robot["_target_"] is None:
        raise UserError("robot=none cannot be driven; robot=mujoco is simulated")
    source = open_policy(options)
    encoder = EncoderOptions.of(source.config["encoder"]) if "encoder" in source.config else None
    if encoder and (said := foreign_frames(encoder, options.robot, "the robot")):
        print(said, flush=True)
    try:
        env: RobotEnv = instantiate({**options.robot, "cameras": _cameras(options.robot["cameras"], source)})
        try:
            _deploy(options, env, source)
        finally:
            env.close()
    finally:
        source.close()


def _cameras(cameras: Any, source: PolicySource) -> Any:
    """Those of the robot's cameras (names, or names with what they are) that the policy uses."""
    names = list(source.spec.cameras)
    for name in names:
        if name not in cameras:
            raise unknown("camera", name, cameras)
    return {name: cameras[name] for name in names} if isinstance(cameras, dict) else names


@dataclass(frozen=True)
class Deployment:
    """What the rollouts of one session have in common."""

    options: DeployOptions
    env: RobotEnv
    executor: AsynchronousExecutor
    task: Task
    store: DemoStore

    def run(self, operator: Operator) -> None:
        """Rolls out from each start, until the operator has enough or Ctrl-C stops the arm."""
        try:
            for index, start in self.starts():
                if not self._until_it_counts(operator, index, start):
                    return
        except KeyboardInterrupt:
            self.env.stop("interrupted")
            print("\ninterrupted: the arm is stopped; what is finished is kept, run again to go on")
        except Terminated as signal:
            self.env.stop(f"ended by {signal}")
            raise

    def starts(self) -> Iterator[tuple[int, Start]]:
        """The starts that are left, each with its number; with `starts=0` as many rollouts as asked for."""
        if not self.options.starts:
            first = max(outcomes(self.store, free=True), default=-1) + 1
            yield from ((first + i, Start()) for i in range(self.options.rollouts))
            return
        done = outcomes(self.store)
        starts = self.task.starts(self.options.starts)
        yield from ((i, start) for i, start in enumerate(starts) if i not in done)

    def _until_it_counts(self, operator: Operator, index: int, start: Start) -> bool:
        """False: the operator wants no further rollout."""
        setup = start.setup or f"Rollout {index}: set the scene up"
        seed = env_seed(self.options.seed, index)  # as in simulation: the arms start alike
        while operator.ready(setup):
            rollout = roll_out(self.env, self.executor, operator, self.task, start, seed)
            if rollout.mark is not Mark.REPEAT:
                self._keep(rollout, index, start, seed)
                return True
        return False

    def _keep(self, rollout: Rollout, index: int, start: Start, seed: int) -> None:
        options = self.options
        attributes = {
            **rollout.attributes(self.env),
            "seed": seed,
            "start": start.to_dict(),
            "instruction": self.task.instruction,
            "operator": options.operator,
            "teleop": options.teleop,
            "notes": options.notes,
            "versions": versions(),
            "outcome": outcome_of(rollout, index, start, seed),
            "is_free": not options.starts,  # wherever the operator set the scene up
        }
        if rollout.steps:
            self.store.append(rollout.recorder.episode(attributes))
        why = f": {rollout.stopped}" if rollout.stopped else ""
        print(f"rollout {index}: {rollout.mark} after {rollout.steps} steps{why}", flush=True)


def _deploy(options: DeployOptions, env: RobotEnv, source: PolicySource) -> None:
    executor = source.executor(env, options.blending)
    device: TeleopDevice | None = None
    try:
        _check(options, env, source, executor)
        task = source.task if options.task is None else load_task({"task": options.task}, instantiate)
        deployment = Deployment(options, env, executor, task, _open_store(options, env, source))
        device = _page(deployment) if options.teleop == "browser" else None
        operator, console = _operator(deployment, device)
        deployment.run(operator)
        about = {"checkpoint_sha256": source.sha256, "max_steps": env.max_steps}
        config = {"deploy": to_plain(options), "robot": dict(options.robot), **source.config}
        write(Path(options.out), deployment.store, task, {**about, "seed": options.seed, "config": config})
        if console:
            console.enter(Phase.FINISHED, f"{len(deployment.store)} rollouts in {options.out}")
    finally:
        executor.close()
        if device:
            device.close()


def _check(
    options: DeployOptions, env: RobotEnv, source: PolicySource, executor: AsynchronousExecutor
) -> None:
    """Raises UserError where a check fails, unless `force`."""
    checks = look(env, source.spec, options.recover)
    if options.force or all(check.good for check in checks):
        checks += dry_run(env, executor, options.dry_run, options.max_clamped)
    print(*checks, sep="\n", flush=True)
    refuse(checks, options.force, options.robot.get("realtime_factor"))


def _open_store(options: DeployOptions, env: RobotEnv, source: PolicySource) -> DemoStore:
    identity = {"deploy": {"checkpoint_sha256": source.sha256, "robot": to_plain(options)["robot"]}}
    store = DemoStore.open_or_create(Path(options.out) / "demos", env.robot_spec, identity)
    if store.attributes.get("deploy") != identity["deploy"]:
        raise UserError(f"{store.path} holds rollouts of another policy or robot: give another out=")
    return store


def _page(deployment: Deployment) -> TeleopDevice:
    from s2robot.teleop.server import serve

    options, spec = deployment.options, deployment.env.robot_spec
    about = {
        "mode": "deploy",
        "task": deployment.task.instruction or "Deploy a policy",
        "operator": options.operator or "",
        "store": options.out,
        "env": type(deployment.env).__name__,
        "cameras": list(spec.cameras),
        "proprio": list(spec.proprio),
        "action": list(spec.action),
        "axes": camera_axes(deployment.env),
        "policy": True,
    }
    page = serve(about, options.host, options.port)
    print(page.invitation, flush=True)
    return page


def _operator(deployment: Deployment, device: TeleopDevice | None) -> tuple[Operator, Console | None]:
    env, task = deployment.env, deployment.task
    if device is None:
        return (Terminal(env, task) if deployment.options.teleop == "terminal" else Nobody()), None
    status = Status(rate=env.robot_spec.rate, target=deployment.options.starts or deployment.options.rollouts)

    def refresh(status: Status) -> None:
        status.demos = len(outcomes(deployment.store, free=not deployment.options.starts))

    console = Console(device, status, refresh)
    return Page(console, env, task, deployment.executor, _steering(env)), console


def _steering(env: RobotEnv) -> Any:
    """None where nobody can steer this robot: the page then watches and stops."""
    try:
        return make_steering(gymnasium.Wrapper(env))
    except UserError:
        return None
