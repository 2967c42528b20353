"""How long a policy server takes to answer: a client and a server on this machine, one request at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from s2robot.bench.options import BenchOptions
from s2robot.commands import load_command
from s2robot.core.errors import UserError
from s2robot.core.spec import Observation, RobotSpec
from s2robot.serve.client import RemotePredictor
from s2robot.serve.command import policy_service
from s2robot.serve.server import PolicyServer

_START = 30.0  # s that the server may take to listen
_WARM_UP = 3  # requests


def measure(options: BenchOptions) -> tuple[dict[str, Any], list[str]]:
    """What `s2robot bench serve` finds. Raises UserError where there is no checkpoint."""
    if options.checkpoint is None:
        raise UserError("bench serve needs checkpoint=PATH, the folder `s2robot train` wrote")
    service = policy_service(load_command("serve", [f"checkpoint={options.checkpoint}"])[1])
    rng = np.random.default_rng(options.seed)
    seconds = []
    with _running(PolicyServer(service)) as port:
        client = RemotePredictor(f"ws://127.0.0.1:{port}", timeout=60)
        for _ in range(_WARM_UP + options.serve.requests):
            observation = _noise(client.spec, rng)
            began = time.perf_counter()
            client.observe(observation)
            action = client.predict()[0]
            seconds.append(time.perf_counter() - began)
            client.record_action(action)
        client.close()
    median, high = np.percentile(np.array(seconds[_WARM_UP:]) * 1000, [50, 99])
    result = {"answer_ms_median": float(median), "answer_ms_p99": float(high)}
    about = {"requests": options.serve.requests, "checkpoint": options.checkpoint, "seed": options.seed}
    return result | about, [f"an answer  {median:7.1f} ms, 99 % within {high:.1f} ms"]


def _noise(spec: RobotSpec, rng: np.random.Generator) -> Observation:
    images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in spec.cameras.items()}
    return {"images": images, "proprio": rng.standard_normal(spec.proprio_dim).astype(np.float32)}


@contextmanager
def _running(server: PolicyServer) -> Iterator[int]:
    """The port of a server that runs in a thread."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        stop = asyncio.Event()
        found.update(stop=stop, loop=asyncio.get_running_loop())

        def tell(host: str, port: int) -> None:
            found["port"] = port
            started.set()

        await server.run(stop, tell)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    if not started.wait(_START):
        raise UserError("bench serve: the server does not start on 127.0.0.1")
    try:
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join()
