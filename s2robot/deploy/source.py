"""The policy that acts on a robot: a checkpoint in this process, or a policy server on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.core.task import Task
from s2robot.deploy.options import DeployOptions
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.policy.policy import Predictor
from s2robot.robot.env import RobotEnv
from s2robot.tasks import load_task
from s2robot.utils.provenance import usable_cores


@dataclass(frozen=True)
class PolicySource:
    """A predictor and where it comes from.

    Attributes:
        spec: of the robot that it was trained on, with the policy's cameras.
        task: of its demos.
        sha256: of the checkpoint.
        config: what an evaluation keeps of its training.
        close: ends the connection, if there is one.
    """

    predictor: Predictor
    spec: RobotSpec
    task: Task
    sha256: str
    config: dict[str, Any]
    close: Callable[[], None]

    def executor(self, env: RobotEnv, blending: ChunkBlending) -> AsynchronousExecutor:
        """Its chunks, blended on the robot's clock."""
        clock = env.clock
        return AsynchronousExecutor(self.predictor, env.robot_spec, clock.now, blending, clock.real)


def open_policy(options: DeployOptions) -> PolicySource:
    """From the options `checkpoint`, or `server` and `api_key`. Raises UserError as they do."""
    if options.server is not None and options.checkpoint is None:
        return _remote(options.server, options.api_key, options.max_chunk_age, options.proxy)
    if options.checkpoint is not None and options.server is None:
        return _local(options.checkpoint, options.threads)
    raise UserError("which policy? give checkpoint=PATH, or server=ws://host:port of `s2robot serve`")


def _local(checkpoint: str, threads: int | None) -> PolicySource:
    import torch

    from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config

    torch.set_num_threads(threads or usable_cores())
    folder = Path(checkpoint)
    policy, config = load_policy(folder), read_config(folder)
    spec = policy.spec.select_cameras(list(policy.model.config.cameras))
    keys = ("policy", "encoder", "encoder_identity", "training", "demos_sha256")
    about = {key: config[key] for key in keys}
    task = load_task(config["env"] or {})
    return PolicySource(policy, spec, task, checkpoint_sha256(folder), about, lambda: None)


def _remote(url: str, api_key: str | int | None, timeout: float, proxy: str | None) -> PolicySource:
    from s2robot.serve.client import RemotePredictor
    from s2robot.serve.command import KEY_VARIABLE

    key = os.environ.get(KEY_VARIABLE) if api_key is None else str(api_key)
    try:
        remote = RemotePredictor(url, key=key, timeout=timeout, proxy=proxy)
    except (ConnectionError, TimeoutError) as error:
        raise UserError(str(error)) from error
    metadata = remote.metadata
    about = {"server": metadata.get("server"), "checkpoint": metadata.get("checkpoint")}
    sha256 = str(metadata.get("checkpoint_sha256", "unknown"))
    return PolicySource(remote, remote.spec, load_task(metadata), sha256, about, remote.close)
