"""`s2robot record device=browser`, `device=spacemouse+browser`, ...: what a session is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium

from s2robot.config import instantiate
from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore
from s2robot.record.command import check_attributes, store_attributes
from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.device import TeleopDevice, Together
from s2robot.teleop.gamepad import Gamepad
from s2robot.teleop.leader import Build, DynamixelBus, Leader
from s2robot.teleop.phone import Phone, open_phone
from s2robot.teleop.server import serve
from s2robot.teleop.session import Session
from s2robot.teleop.spacemouse import SpaceMouse
from s2robot.teleop.steering import make_steering
from s2robot.teleop.supervision import Overrulable, make_overrulable
from s2robot.teleop.terminal import TerminalKeys
from s2robot.utils.provenance import versions

if TYPE_CHECKING:
    from s2robot.policy.policy import Policy  # imports torch, which a person alone does not need

Make = Callable[[dict[str, Any], Any], TeleopDevice]


def record_person(plain: dict[str, Any], devices: Mapping[str, Make] | None = None) -> None:
    """A session at the devices that `plain["device"]` names, from the first take to the last.

    `devices` says how each is made, as `DEVICES` does.

    Raises UserError for an unknown device or one whose extra is missing, a store of something else, a
    checkpoint of another robot, and where kept demos could not be written.
    """
    names = _names(plain["device"], plain["checkpoint"])
    policy = _load(plain["checkpoint"]) if plain["checkpoint"] else None
    if plain["robot"]["_target_"] is not None:
        plain = {**plain, "env": plain["robot"]}
    env = instantiate(plain["env"])
    try:
        spec: RobotSpec = env.robot_spec
        identity = {"device": "person", "env": plain["env"]}
        if policy:
            policy.check(spec)
        begun_with = store_attributes(plain, identity)
        store = DemoStore.open_or_create(plain["out"], spec, begun_with)
        check_attributes(store, begun_with)
        store.clean_staging()
        attributes = {
            **{name: plain[name] for name in ("device", "task", "operator", "notes")},
            **({"policy": policy.origin} if policy else {}),
            "config": identity,
            "versions": versions(),
        }
        device = Together([(devices or DEVICES)[name](plain, env) for name in names])
        _run(device, plain, env, store, attributes, policy and make_overrulable(policy.policy, env))
    finally:
        env.close()


def _names(device: str, checkpoint: str | None) -> list[str]:
    names = device.split("+")
    for name in names:
        if name not in DEVICES:
            raise unknown("device", name, ["scripted", *DEVICES])
    if names in (["spacemouse"], ["leader"]):
        raise UserError(
            f"device={device} has too few buttons to discard a take: join another, "
            f"for example device={device}+browser"
        )
    if "leader" in names and checkpoint is not None:
        raise UserError(
            "device=leader cannot watch over a checkpoint=: it does not follow the arm that the policy moves"
        )
    if names == ["terminal"] and checkpoint is None:
        raise UserError(
            "device=terminal cannot steer: join another, for example device=spacemouse+terminal; "
            "it does for watching over a checkpoint="
        )
    return names


def _run(
    device: TeleopDevice,
    plain: dict[str, Any],
    env: gymnasium.Env,
    store: DemoStore,
    attributes: dict[str, Any],
    policy: Overrulable | None,
) -> None:
    try:
        session = Session(plain, env, store, device, attributes, policy)
        session.run()
    finally:
        device.close()
        if policy is not None:
            policy.close()
    print(f"{store.path}: {len(store)} demos")


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint's policy, under a person's eyes; where it comes from."""

    policy: Policy
    spec: RobotSpec
    origin: dict[str, Any]

    def check(self, spec: RobotSpec) -> None:
        """Raises UserError where the policy was trained on another robot than this."""
        difference = self.spec.difference(spec.select_cameras(list(self.spec.cameras)))
        if difference:
            raise UserError(f"{self.origin['checkpoint']} was trained on another robot: {difference}")


def _load(checkpoint: str) -> _Loaded:
    import torch  # here: a person alone needs none of it

    from s2robot.policy.checkpoint import checkpoint_sha256, load_policy

    torch.set_num_threads(1)
    policy = load_policy(checkpoint)
    origin = {"checkpoint": str(checkpoint), "sha256": checkpoint_sha256(checkpoint)}
    return _Loaded(policy, policy.spec, origin)


# ---------------------------------------------------------------------- the devices


def browser(
    plain: dict[str, Any], env: Any, make: Callable[[str], BrowserDevice] = BrowserDevice
) -> BrowserDevice:
    """The page of a session, served."""
    spec: RobotSpec = env.robot_spec
    about = {
        **{name: plain[name] for name in ("task", "operator")},
        "store": str(plain["out"]),
        "env": plain["env"]["_target_"].rpartition(".")[2],
        "cameras": list(spec.cameras),
        "proprio": list(spec.proprio),
        "policy": plain["checkpoint"] is not None,
    }
    return serve(about, plain["host"], plain["port"], make)


def phone(plain: dict[str, Any], env: Any) -> Phone:
    """A phone, whose page is served."""
    return open_phone(plain["view"], make_steering(env).step, plain["phone_port"])


def leader(plain: dict[str, Any], env: Any) -> Leader:
    """A leader arm. Raises UserError where it does not fit the robot."""
    build = Build(**plain["leader"])
    build.check(env.robot_spec)
    return Leader(build, partial(DynamixelBus, build.port, build.baud, [*build.ids, build.gripper]))


DEVICES: Mapping[str, Make] = {
    "browser": browser,
    "spacemouse": lambda plain, _: SpaceMouse(plain["view"]),
    "gamepad": lambda plain, _: Gamepad(plain["view"]),
    "phone": phone,
    "leader": leader,
    "terminal": lambda *_: TerminalKeys(),
}
"""How each device is made from the options of `s2robot record` and the environment."""
