"""Rollouts of a policy as a demo store, `s2robot evaluate store=PATH`: to inspect, and to train on again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.recorder import Recorder
from s2robot.data.schema import MARKER
from s2robot.data.store import DemoStore
from s2robot.utils.provenance import versions


class RolloutStore:
    """A demo store of rollouts, each under its index.

    Args:
        origin: what all have in common: `env`, `checkpoint_sha256`, `seed`, ... The store says so of itself.

    Raises:
        UserError: something else lies at the path, rollouts of another origin among it.
    """

    def __init__(self, path: str | Path, spec: RobotSpec, origin: Mapping[str, Any]) -> None:
        self.origin = {"collected_by": "policy", **origin}
        check_origin(path, self.origin)
        self._store = DemoStore.open_or_create(path, spec, {"record": self.origin})

    def keep(self, recorder: Recorder, outcome: Mapping[str, Any]) -> None:
        """Commits a rollout; one that is there is the same, since it was made from the same.

        What a failed rollout did is marked as not worth imitating.
        """
        episode_id = f"{outcome['index']:06d}"
        if episode_id in self._store:
            return
        attributes = {
            **{name: outcome[name] for name in ("success", "seed", "failure", "metrics", "start")},
            "attempts": 1,
            "action_loss_mask": [bool(outcome["success"])] * recorder.steps,
            "config": self.origin,
            "versions": versions(),
        }
        self._store.append(recorder.episode(attributes), episode_id)


def check_origin(path: str | Path, origin: Mapping[str, Any]) -> None:
    """Raises UserError where there is a store of another origin."""
    if not (Path(path) / MARKER).exists():
        return
    if DemoStore.open(path).attributes.get("record") != origin:
        raise UserError(f"{path} holds episodes of another origin than these rollouts: give another store=")
