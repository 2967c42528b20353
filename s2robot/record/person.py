"""Demos of a person at a device, alone or taking over from a policy (HG-DAgger)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium

from s2robot.config import instantiate
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore
from s2robot.record.checkpoint import load_acting
from s2robot.record.options import RecordOptions
from s2robot.record.store import check_attributes, described, store_attributes
from s2robot.teleop.devices import DeviceKind, TeleopContext, find_kinds, make_device
from s2robot.teleop.session import Session, SessionOptions
from s2robot.teleop.steering import takes_pointer
from s2robot.teleop.supervision import make_overrulable
from s2robot.teleop.view import camera_axes
from s2robot.utils.provenance import versions


def record_person(options: RecordOptions, kinds: Sequence[DeviceKind[Any]] | None = None) -> None:
    """A session at the devices that `options.teleop` names, from the first take to the last.

    Args:
        options: of the command.
        kinds: the devices instead of those.

    Raises UserError for an unknown device or one whose extra is missing, a store of something else, a
    checkpoint of another robot, and where kept demos could not be written.
    """
    kinds = kinds or find_kinds(options.teleop, options.checkpoint is not None)
    policy = load_acting(options.checkpoint) if options.checkpoint else None
    description = described(options)
    if options.robot["_target_"] is not None:
        options = replace(options, env=options.robot)
    env: gymnasium.Env = instantiate(options.env)
    try:
        spec: RobotSpec = env.unwrapped.robot_spec  # pyright: ignore[reportAttributeAccessIssue]
        if policy:
            policy.check(spec)
        identity = {"teleop": "person", "env": dict(options.env)}
        store = _open(options, spec, identity)
        attributes = {
            "teleop": options.teleop,
            **description,
            **({"policy": policy.origin} if policy else {}),
            "config": identity,
            "versions": versions(),
        }
        about = _about(options, spec, description) | {"axes": camera_axes(env)}
        device = make_device(kinds, options, TeleopContext(env, about))
        overrulable = policy and make_overrulable(policy.policy, env)
        try:
            session_options = SessionOptions(options.seed, options.episodes, options.limit)
            Session(session_options, env, store, device, attributes, overrulable).run()
        finally:
            device.close()
            if overrulable is not None:
                overrulable.close()
        print(f"{store.path}: {len(store)} demos")
    finally:
        env.close()


def _open(options: RecordOptions, spec: RobotSpec, identity: dict[str, Any]) -> DemoStore:
    begun_with = store_attributes(options, identity)
    store = DemoStore.open_or_create(options.out, spec, begun_with)
    check_attributes(store, begun_with)
    store.clean_staging()
    return store


def _about(options: RecordOptions, spec: RobotSpec, description: dict[str, str]) -> dict[str, Any]:
    """What the page shows of the session."""
    return {
        "task": description["instruction"],
        "operator": description["operator"],
        "store": options.out,
        "env": options.env["_target_"].rpartition(".")[2],
        "cameras": list(spec.cameras),
        "proprio": list(spec.proprio),
        "policy": options.checkpoint is not None,
        "pointer": takes_pointer(spec),
    }
