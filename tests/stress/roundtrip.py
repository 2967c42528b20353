"""What a call over the network costs beside inference: two 224 px frames to a server that predicts nothing.

    python -m tests.stress.roundtrip --out docs/results/server_roundtrip.json

Client and server are two processes on one machine. A call is what the control loop waits for: packing,
loopback, reading, checking, the way through the inference thread, the reply and its checks.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.spec import Observation, RobotSpec
from s2robot.serve.client import RemotePredictor
from s2robot.serve.contract import Contract
from s2robot.serve.server import PolicyServer
from s2robot.serve.session import Service
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import machine
from tests.stress.fuzz import serving_versions

_HORIZON = 16
_WARM_UP = 100  # calls
_BAR = 2.0  # ms
SPEC = RobotSpec(
    cameras={"front": (224, 224, 3), "wrist": (224, 224, 3)},
    proprio=(*(f"joint{i} [rad]" for i in range(1, 8)), "gripper [m]"),
    action=("dx [m]", "dy [m]", "dz [m]", "gripper [-1 open, 1 close]"),
    action_space="ee_delta",
    rate=10.0,
)


class Nothing:
    """A predictor that does not think."""

    chunk_size = _HORIZON

    def reset(self) -> None: ...

    def observe(self, observation: Observation) -> None: ...

    def record_action(self, action: np.ndarray) -> None: ...

    def predict(self) -> np.ndarray:
        return np.zeros((_HORIZON, SPEC.action_dim), np.float32)


@dataclass(frozen=True)
class Measured:
    """The time of each call (ms), and what a call cost the processor on either side (ms)."""

    times: np.ndarray
    client_cpu: float
    server_cpu: float


def measure(calls: int) -> Measured:
    """Calls a server in another process, after a warm-up."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    server = context.Process(target=_serve_nothing, args=(theirs,), daemon=True)
    server.start()
    try:
        remote = RemotePredictor(f"ws://127.0.0.1:{mine.recv()}")
        _time_calls(remote, _WARM_UP)
        before = time.process_time(), _cpu_seconds(server.pid)
        times = _time_calls(remote, calls)
        after = time.process_time(), _cpu_seconds(server.pid)
        remote.close()
        cpu = [1000 * (b - a) / calls for a, b in zip(before, after, strict=True)]
        return Measured(times, *cpu)
    finally:
        server.terminate()
        server.join()


def _serve_nothing(pipe: Connection) -> None:
    service = Service(Contract(SPEC), Nothing, n_obs_steps=16, chunk_size=_HORIZON)

    async def serve() -> None:
        await PolicyServer(service).run(asyncio.Event(), lambda host, port: pipe.send(port))

    asyncio.run(serve())


def _time_calls(remote: RemotePredictor, calls: int) -> np.ndarray:
    rng, times = np.random.default_rng(0), []
    images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in SPEC.cameras.items()}
    seen = {"images": images, "proprio": np.zeros(SPEC.proprio_dim, np.float32)}
    for _ in range(calls):
        started = time.perf_counter()
        remote.observe(seen)
        times.append(1000 * (time.perf_counter() - started))
        remote.record_action(remote.predict()[0])
    return np.array(times)


def _cpu_seconds(pid: int | None) -> float:
    """What a process has cost the processor so far, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def summary(times: np.ndarray) -> dict[str, Any]:
    """The distribution of the times (ms), and whether the median keeps to the bar."""
    shares = {f"p{share}": round(float(np.percentile(times, share)), 3) for share in (5, 50, 95, 99)}
    figures = {
        "calls": len(times),
        **shares,
        "mean": round(float(times.mean()), 3),
        "max": round(float(times.max()), 3),
    }
    return {"milliseconds": figures, "bar": _BAR, "median_within_bar": bool(np.median(times) <= _BAR)}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    measured = measure(options.calls)
    result = summary(measured.times)
    about = {
        "cpu_milliseconds": {
            "client": round(measured.client_cpu, 3),
            "server": round(measured.server_cpu, 3),
        },
        "load_average": [round(load, 2) for load in (before, os.getloadavg()[0])],
        "machine": machine(),
        "versions": serving_versions(),
    }
    write_json(options.out, result | about)
    print(f"a call without inference: median {result['milliseconds']['p50']} ms of {_BAR} ms")


if __name__ == "__main__":
    main()
