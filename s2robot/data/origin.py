"""Where demos are from: a simulated environment, a robot, or a file of another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s2robot.data.store import DemoStore

_HARDWARE = "s2robot.robot."
_REAL_TIME = "envs.realtime."


def recorded_in(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section of the environment or robot that a store with these attributes was recorded in."""
    record, rollouts = attributes.get("record"), attributes.get("deploy")
    found = record.get("env") if isinstance(record, Mapping) else None
    if found is None and isinstance(rollouts, Mapping):
        found = rollouts.get("robot")
    return found if isinstance(found, Mapping) else None


def simulated_env(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Likewise, where it is an environment that rollouts can be made in: no robot, simulated or not."""
    found = recorded_in(attributes)
    return None if found is None or _target(found).startswith((_HARDWARE, _REAL_TIME)) else found


def is_simulated(store: DemoStore) -> bool:
    """Whether all demos of a store are of a simulation; where the store does not tell, its episodes do.

    A merged store does not tell where its parts were recorded in different environments.
    """
    found = recorded_in(store.attributes)
    if found is not None:
        return not _target(found).startswith(_HARDWARE)
    own = (recorded_in({"record": e.attributes.get("config")}) for e in store.episodes())
    return all(env is not None and not _target(env).startswith(_HARDWARE) for env in own)


def _target(section: Mapping[str, Any]) -> str:
    return str(section.get("_target_"))
