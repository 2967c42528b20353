"""`s2robot record device=browser`, `device=spacemouse+browser`, ...: what a session is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium

from demos.record import check_attributes, store_attributes
from demos.teleop.device import TeleopDevice, Together
from demos.teleop.person import Supervised
from demos.teleop.server import serve
from demos.teleop.session import Session
from s2robot.config import instantiate
from s2robot.data.store import DemoStore
from s2robot.errors import UserError, unknown
from s2robot.provenance import versions
from s2robot.spec import RobotSpec


def record_person(plain: dict[str, Any]) -> None:
    """A session at the devices that `plain["device"]` names, from the first take to the last.

    Raises UserError for an unknown device or one whose extra is missing, a store of something else, a
    checkpoint of another robot, and where kept demos could not be written.
    """
    names = plain["device"].split("+")
    for name in names:
        if name not in DEVICES:
            raise unknown("device", name, ["scripted", *DEVICES])
    if plain["robot"]["_target_"] is not None:
        plain = {**plain, "env": plain["robot"]}
    env = instantiate(plain["env"])
    try:
        spec: RobotSpec = env.robot_spec
        identity = {"device": "person", "env": plain["env"]}
        policy, origin = _policy(plain["checkpoint"], spec)
        begun_with = store_attributes(plain, identity)
        store = DemoStore.open_or_create(plain["out"], spec, begun_with)
        check_attributes(store, begun_with)
        store.clean_staging()
        attributes = {
            **{name: plain[name] for name in ("device", "task", "operator", "notes")},
            **origin,
            "config": identity,
            "versions": versions(),
        }
        _run(names, plain, env, store, attributes, policy)
    finally:
        env.close()


def _run(
    names: list[str],
    plain: dict[str, Any],
    env: gymnasium.Env,
    store: DemoStore,
    attributes: dict[str, Any],
    policy: Supervised | None,
) -> None:
    device = Together([DEVICES[name](plain, store.spec) for name in names])
    try:
        session = Session(plain, env, store, device, attributes, policy)
        session.run()
    finally:
        device.close()
    print(f"{store.path}: {len(store)} demos")


def _policy(checkpoint: str | None, spec: RobotSpec) -> tuple[Supervised | None, dict[str, Any]]:
    """The policy that a person supervises, and what a demo tells of it."""
    if checkpoint is None:
        return None, {}
    import torch  # here: a person alone needs none of it

    from s2robot.policy.checkpoint import checkpoint_sha256, load_policy
    from s2robot.policy.policy import ChunkExecutor

    torch.set_num_threads(1)
    policy = load_policy(checkpoint)
    difference = policy.spec.difference(spec.select_cameras(list(policy.spec.cameras)))
    if difference:
        raise UserError(f"{checkpoint} was trained on another robot: {difference}")
    origin = {"checkpoint": str(checkpoint), "sha256": checkpoint_sha256(checkpoint)}
    return Supervised(partial(ChunkExecutor, policy)), {"policy": origin}


# ---------------------------------------------------------------------- the devices


def _browser(plain: dict[str, Any], spec: RobotSpec) -> TeleopDevice:
    about = {
        **{name: plain[name] for name in ("task", "operator")},
        "store": str(plain["out"]),
        "env": plain["env"]["_target_"].rpartition(".")[2],
        "cameras": list(spec.cameras),
        "proprio": list(spec.proprio),
        "policy": plain["checkpoint"] is not None,
    }
    return serve(about, plain["host"], plain["port"])


DEVICES: Mapping[str, Callable[[dict[str, Any], RobotSpec], TeleopDevice]] = {"browser": _browser}
"""How each device is made from the options of `s2robot record` and the robot's spec."""
