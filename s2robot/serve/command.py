"""`s2robot serve`: answers a checkpoint's policy over the network."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from s2robot import __version__
from s2robot.config.checks import check_least
from s2robot.core.errors import UserError
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy
from s2robot.policy.policy import Policy
from s2robot.serve.connection import Limits
from s2robot.serve.contract import Contract
from s2robot.serve.server import PolicyServer, check_access
from s2robot.serve.session import Service
from s2robot.serve.wire import require_extra

KEY_VARIABLE = "S2ROBOT_API_KEY"

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> None:
    """Serves until SIGINT or SIGTERM. Raises UserError as `PolicyServer` and `policy_service`."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = plain["api_key"]
    key = os.environ.get(KEY_VARIABLE) or None if given is None else str(given)
    require_extra()
    check_access(plain["host"], key)  # before the policy is loaded
    check_least(plain, 1, "threads")
    if not 0 <= plain["port"] <= 65535:
        raise UserError(f"port={plain['port']}: expected 0 (any that is free) to 65535")
    if plain["threads"] is not None:
        torch.set_num_threads(plain["threads"])
    service = policy_service(plain["checkpoint"], plain)
    limits = read_limits(plain, service)
    server = PolicyServer(service, host=plain["host"], port=plain["port"], key=key, limits=limits)
    asyncio.run(_until_stopped(server, plain["checkpoint"]))


def policy_service(checkpoint: str | Path, options: Mapping[str, Any]) -> Service:
    """What a checkpoint's server offers: one model, loaded once, and a history for each connection.

    Args:
        options: `keys`, `resize`, `call_every` and `reset_after` of `configs/serve.yaml`.

    Raises UserError as `load_policy`, `Contract` and `Service`.
    """
    policy = load_policy(checkpoint)
    config = policy.model.config
    spec = policy.spec.select_cameras(list(config.cameras))
    return Service(
        Contract(spec, read_keys(options["keys"]), options["resize"]),
        new_predictor=lambda: Policy(policy.model, policy.extractor, policy.spec),
        n_obs_steps=config.n_obs_steps,
        chunk_size=config.chunk_size,
        call_every=options["call_every"],
        reset_after=options["reset_after"],
        about={
            "server": f"s2robot {__version__}",
            "checkpoint": Path(checkpoint).name,
            "checkpoint_sha256": checkpoint_sha256(checkpoint),
        },
    )


def read_keys(keys: Any) -> dict[str, str]:
    """The option `keys`. Raises UserError where it is no map of text to text."""
    if keys is None:
        return {}
    if not isinstance(keys, dict) or not all(isinstance(text, str) for pair in keys.items() for text in pair):
        raise UserError(f"keys={keys}: expected {{their key:images/CAMERA,their key:proprio}}")
    return keys


def read_limits(plain: Mapping[str, Any], service: Service) -> Limits:
    """The limits of `configs/serve.yaml`. Raises UserError for those under which no request could be met."""
    if plain["connections"] < 1 or plain["idle"] <= 0:
        raise UserError(f"connections={plain['connections']} idle={plain['idle']}: expected more than 0")
    largest = sum(h * w * c for h, w, c in service.contract.spec.cameras.values())
    message = int(1e6 * plain["max_message"])
    if message < 1.1 * largest:
        frames = f"the frames of one observation are {largest / 1e6:.2f} MB"
        raise UserError(f"max_message={plain['max_message']}: {frames}")
    return replace(Limits(), connections=plain["connections"], message=message, idle=float(plain["idle"]))


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
