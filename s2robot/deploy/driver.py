"""The policy that drives a robot: a checkpoint in this process, or a policy server on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.policy.policy import Predictor
from s2robot.robot.env import RobotEnv
from s2robot.utils.provenance import usable_cores


@dataclass(frozen=True)
class Driver:
    """A predictor, the robot it was trained on with the cameras it sees, and where it comes from."""

    predictor: Predictor
    spec: RobotSpec
    sha256: str
    config: dict[str, Any]
    close: Callable[[], None]

    def executor(self, env: RobotEnv, plain: dict[str, Any]) -> AsynchronousExecutor:
        """Its chunks, joined on the robot's clock as `configs/deploy.yaml` says."""
        names = ("join", "blend", "decay", "inference_slack", "max_chunk_age")
        blending = ChunkBlending(**{name: plain[name] for name in names})
        clock = env.clock
        return AsynchronousExecutor(self.predictor, env.robot_spec, clock.now, blending, clock.real)


def make_driver(plain: dict[str, Any]) -> Driver:
    """From the options `checkpoint`, or `server` and `api_key`. Raises UserError as they do."""
    if (plain["checkpoint"] is None) == (plain["server"] is None):
        raise UserError("who drives? give checkpoint=PATH, or server=ws://host:port of `s2robot serve`")
    return _local(plain) if plain["server"] is None else _remote(plain)


def _local(plain: dict[str, Any]) -> Driver:
    import torch

    from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config

    torch.set_num_threads(plain["threads"] or usable_cores())
    folder = Path(plain["checkpoint"])
    policy, config = load_policy(folder), read_config(folder)
    spec = policy.spec.select_cameras(list(policy.model.config.cameras))
    keys = ("policy", "encoder", "encoder_identity", "training", "demos_sha256")
    about = {key: config[key] for key in keys}
    return Driver(policy, spec, checkpoint_sha256(folder), about, lambda: None)


def _remote(plain: dict[str, Any]) -> Driver:
    from s2robot.serve.client import RemotePredictor
    from s2robot.serve.command import KEY_VARIABLE

    key = plain["api_key"] or os.environ.get(KEY_VARIABLE)
    try:
        remote = RemotePredictor(plain["server"], key=key, timeout=plain["max_chunk_age"])
    except (ConnectionError, TimeoutError) as error:
        raise UserError(str(error)) from error
    sha256 = str(remote.metadata.get("checkpoint_sha256", "unknown"))
    about = {"server": remote.metadata.get("server"), "checkpoint": remote.metadata.get("checkpoint")}
    return Driver(remote, remote.spec, sha256, about, remote.close)
