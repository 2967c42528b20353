"""`s2robot deploy`: checks, rollouts on a robot, the store they lie in, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from omegaconf import DictConfig, OmegaConf

from s2robot.config import instantiate
from s2robot.core.errors import UserError, unknown
from s2robot.data.store import DemoStore
from s2robot.deploy.checks import dry_run, look, refuse
from s2robot.deploy.driver import Driver, make_driver
from s2robot.deploy.operator import Nobody, Operator, Page, Terminal, Verdict
from s2robot.deploy.result import outcomes, write
from s2robot.deploy.rollout import Rollout, roll_out
from s2robot.evaluation.rollouts import env_seed
from s2robot.policy.execution.asynchronous import AsynchronousExecutor
from s2robot.robot.env import RobotEnv
from s2robot.teleop.console import Console
from s2robot.teleop.device import Phase, Status, TeleopDevice
from s2robot.teleop.steering import make_steering
from s2robot.utils.provenance import versions

DEVICES = ("browser", "none", "terminal")
Pose = tuple[float, float, float]


def main(cfg: DictConfig) -> None:
    """Rolls out where the cube has not been yet, writes what became of it into `out`.

    Raises UserError where a check fails, the robot is not there, or is not the one the policy knows.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    if plain["device"] not in DEVICES:
        raise unknown("device", plain["device"], DEVICES)
    if plain["robot"]["_target_"] is None:
        raise UserError("robot=none cannot be driven; robot=mujoco is simulated")
    driver = make_driver(plain)
    robot = {**plain["robot"], "cameras": _seen(plain["robot"]["cameras"], driver)}
    env: RobotEnv = instantiate(robot)
    try:
        _deploy(plain, env, driver)
    finally:
        env.close()
        driver.close()


def _seen(cameras: Any, driver: Driver) -> Any:
    """Those of the robot's cameras (names, or names with what they are) that the policy sees."""
    for name in driver.spec.cameras:
        if name not in cameras:
            raise unknown("camera", name, cameras)
    return (
        {n: cameras[n] for n in driver.spec.cameras}
        if isinstance(cameras, dict)
        else list(driver.spec.cameras)
    )


def _deploy(plain: dict[str, Any], env: RobotEnv, driver: Driver) -> None:
    executor = driver.executor(env, plain)
    device: TeleopDevice | None = None
    try:
        checks = look(env, driver.spec, plain["recover"])
        if plain["force"] or all(check.good for check in checks):
            checks += dry_run(env, executor, plain["dry_run"])
        print(*checks, sep="\n", flush=True)
        refuse(checks, plain["force"])
        out = Path(plain["out"])
        identity = {"deploy": {"checkpoint_sha256": driver.sha256, "robot": plain["robot"]}}
        store = DemoStore.open_or_create(out / "demos", env.robot_spec, identity)
        if store.attributes.get("deploy") != identity["deploy"]:
            raise UserError(f"{store.path} holds rollouts of another policy or robot: give another out=")
        device = _page(plain, env, out) if plain["device"] == "browser" else None
        operator, console = _operator(plain, env, executor, store, device)
        _roll_all(plain, env, executor, operator, store)
        about = {"checkpoint_sha256": driver.sha256, "config": {"robot": plain["robot"], **driver.config}}
        write(out, store, plain, {**about, "max_steps": env.max_steps})
        if console:
            console.enter(Phase.FINISHED, f"{len(store)} rollouts in {out}")
    finally:
        executor.close()
        if device:
            device.close()


def _roll_all(
    plain: dict[str, Any],
    env: RobotEnv,
    executor: AsynchronousExecutor,
    operator: Operator,
    store: DemoStore,
) -> None:
    """One after the other, until all are done, the operator has enough, or Ctrl-C stops the arm."""
    try:
        for index, pose in _placements(plain, store):
            verdict = Verdict.REPEAT
            while verdict is Verdict.REPEAT:
                if not operator.ready(_where(index, pose)):
                    return
                seed = env_seed(plain["seed"], index)  # as in simulation: the arms start alike
                rollout = roll_out(env, executor, operator, seed, pose)
                verdict = rollout.verdict
                if verdict is not Verdict.REPEAT:
                    _keep(store, env, rollout, plain, seed, index, pose)
    except KeyboardInterrupt:
        env.stop("interrupted")
        print("\ninterrupted: the arm is stopped; what is finished is kept, run again to go on")


def _placements(plain: dict[str, Any], store: DemoStore) -> Iterator[tuple[int, Pose | None]]:
    """The positions that are left to be tried, or as many rollouts as asked for."""
    if not plain["positions"]:
        yield from ((len(store) + i, None) for i in range(plain["rollouts"]))
        return
    fixed = instantiate(plain["position_source"])
    if not 0 <= plain["positions"] <= len(fixed):
        raise UserError(f"positions={plain['positions']}: expected 0 to {len(fixed)}")
    done = outcomes(store)
    yield from ((i, fixed[i]) for i in range(plain["positions"]) if i not in done)


def _where(index: int, pose: Pose | None) -> str:
    if pose is None:
        return "Put the cube on the table"
    x, y, yaw = pose
    away = f"{100 * abs(x):.1f} cm {'away from' if x >= 0 else 'towards'} the robot"
    side = f"{100 * abs(y):.1f} cm to the robot's {'left' if y >= 0 else 'right'}"
    return (
        f"Position {index}: from the table's middle {away}, {side}, turned by {np.degrees(yaw):.0f} degrees"
    )


def _keep(
    store: DemoStore,
    env: RobotEnv,
    rollout: Rollout,
    plain: dict[str, Any],
    seed: int,
    index: int,
    pose: Pose | None,
) -> None:
    attributes = {
        **rollout.attributes(env),
        "seed": seed,
        "device": plain["device"],
        "notes": plain["notes"],
        "versions": versions(),
        **({"cube_pose": list(pose)} if pose else {}),
    }
    if pose is not None:
        x, y, yaw = pose
        success, steps = attributes["success"], rollout.steps
        placed = {"position": index, "x": x, "y": y, "yaw": yaw, "success": success, "steps": steps}
        kind, distance = rollout.failure or (None, None)
        attributes["outcome"] = placed | {"seed": seed, "failure": kind, "missed_by_m": distance}
    if rollout.steps:
        store.append(rollout.recorder.episode(attributes))
    why = f": {rollout.stopped}" if rollout.stopped else ""
    print(f"rollout {index}: {rollout.verdict} after {rollout.steps} steps{why}", flush=True)


# ---------------------------------------------------------------------- who watches


def _page(plain: dict[str, Any], env: RobotEnv, out: Path) -> TeleopDevice:
    from s2robot.teleop.server import serve

    about = {
        "mode": "deploy",
        "task": "Deploy a policy",
        "operator": "",
        "store": str(out),
        "env": type(env).__name__,
        "cameras": list(env.robot_spec.cameras),
        "proprio": list(env.robot_spec.proprio),
        "policy": True,
    }
    return serve(about, plain["host"], plain["port"])


def _operator(
    plain: dict[str, Any],
    env: RobotEnv,
    executor: AsynchronousExecutor,
    store: DemoStore,
    device: TeleopDevice | None,
) -> tuple[Operator, Console | None]:
    if device is None:
        return (Terminal(env) if plain["device"] == "terminal" else Nobody()), None
    print(device.invitation, flush=True)
    target = plain["positions"] or plain["rollouts"]
    status = Status(rate=env.robot_spec.rate, target=target)

    def refresh(status: Status) -> None:
        status.demos = len(outcomes(store)) if plain["positions"] else len(store)

    console = Console(device, status, refresh)
    try:
        steering = make_steering(gymnasium.Wrapper(env))
    except UserError:
        steering = None
    return Page(console, env, executor, steering), console
