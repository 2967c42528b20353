"""`s2robot serve`: answers a checkpoint's policy over the network."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Le

from s2robot import __version__
from s2robot.config.options import Count, Positive
from s2robot.core.errors import UserError
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config
from s2robot.policy.policy import Policy
from s2robot.serve.connection import Limits
from s2robot.serve.contract import Contract
from s2robot.serve.server import PolicyServer, check_access
from s2robot.serve.session import Service
from s2robot.serve.wire import require_extra

KEY_VARIABLE = "S2ROBOT_API_KEY"
Port = Annotated[int, Ge(0), Le(65535)]
"""0: any that is free."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """See configs/serve.yaml."""

    checkpoint: str
    host: str
    port: Port
    api_key: str | int | None
    keys: Mapping[str, str] | None
    resize: bool
    call_every: Count
    reset_after: Positive | None
    connections: Count
    max_message: Positive
    idle: Positive
    threads: Count | None


def main(options: ServeOptions) -> None:
    """Serves until SIGINT or SIGTERM. Raises UserError as `PolicyServer` and `policy_service`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = options.api_key
    key = os.environ.get(KEY_VARIABLE) or None if given is None else str(given)
    require_extra()
    check_access(options.host, key)  # before the policy is loaded
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    service = policy_service(options)
    server = PolicyServer(
        service, host=options.host, port=options.port, key=key, limits=read_limits(options, service)
    )
    asyncio.run(_until_stopped(server, options.checkpoint))


def policy_service(options: ServeOptions) -> Service:
    """What a checkpoint's server offers: one model, loaded once, and a history for each connection.

    Raises UserError as `load_policy`, `Contract` and `Service`.
    """
    checkpoint = options.checkpoint
    policy = load_policy(checkpoint)
    config = policy.model.config
    spec = policy.spec.select_cameras(list(config.cameras))
    return Service(
        Contract(spec, options.keys, options.resize),
        new_predictor=lambda: Policy(policy.model, policy.extractor, policy.spec),
        n_obs_steps=config.n_obs_steps,
        chunk_size=config.chunk_size,
        call_every=options.call_every,
        reset_after=options.reset_after,
        about={
            "server": f"s2robot {__version__}",
            "checkpoint": Path(checkpoint).name,
            "checkpoint_sha256": checkpoint_sha256(checkpoint),
            "task": (read_config(checkpoint)["env"] or {}).get("task"),
        },
    )


def read_limits(options: ServeOptions, service: Service) -> Limits:
    """The limits of the options. Raises UserError for those under which no request could be met."""
    largest = sum(h * w * c for h, w, c in service.contract.spec.cameras.values())
    message = int(1e6 * options.max_message)
    if message < 1.1 * largest:
        frames = f"the frames of one observation are {largest / 1e6:.2f} MB"
        raise UserError(f"max_message={options.max_message}: {frames}")
    return replace(Limits(), connections=options.connections, message=message, idle=options.idle)


async def _until_stopped(server: PolicyServer, checkpoint: str) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # the next one ends the process whatever it does

    def started(host: str, port: int) -> None:
        address = f"[{host}]" if ":" in host else host
        log.info("serving %s on ws://%s:%d", checkpoint, address, port)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    await server.run(stop, started)
    log.info("stopped")
