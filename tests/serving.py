"""A policy server on loopback in a thread of its own, and clients that speak its protocol by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from s2robot.core.spec import Observation, RobotSpec
from s2robot.policy.config import PolicyConfig
from s2robot.policy.policy import Policy
from s2robot.policy.trunks.transformer import Transformer
from s2robot.serve.connection import Limits
from s2robot.serve.contract import Contract
from s2robot.serve.server import PolicyServer
from s2robot.serve.session import Service
from s2robot.serve.wire import pack, unpack
from s2robot.vision.features import FeatureExtractor

SPEC = RobotSpec(
    cameras={"front": (32, 32, 3), "wrist": (32, 32, 3)},
    proprio=("x [m]", "y [m]", "opening [m]"),
    action=("dx [m]", "gripper"),
    action_space="ee_delta",
    rate=10.0,
)
OBSERVED, PREDICTED = 4, 6
KEY = "a key for the tests"


def small_policy(cameras: tuple[str, ...] = ("front",)) -> Policy:
    """Untrained, but a whole one: encoder, pooling, transformer."""
    import torch

    torch.manual_seed(0)
    extractor = FeatureExtractor("random-tiny", [224], bf16=False)
    config = PolicyConfig(
        cameras=dict.fromkeys(cameras, extractor.map_shape()),
        proprio_dim=SPEC.proprio_dim,
        action_dim=SPEC.action_dim,
        n_obs_steps=OBSERVED,
        chunk_size=PREDICTED,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
        pooling="attention",
    )
    return Policy(Transformer(config), extractor, SPEC)


class Adder:
    """A predictor without an encoder: each action is what it was told so far, summed up."""

    chunk_size = PREDICTED

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.calls: list[Any] = []
        self.total = 0.0

    def observe(self, observation: Observation) -> None:
        self.calls.append("observe")
        self.total += float(observation["proprio"].sum()) + float(observation["images"]["front"].mean())

    def predict(self) -> np.ndarray:
        ahead = np.arange(PREDICTED, dtype=np.float32)
        return np.stack([ahead + self.total, ahead], axis=1)

    def record_action(self, action: np.ndarray) -> None:
        self.calls.append(action.tolist())
        self.total += 3 * float(action.sum())


def service_of(policy: Policy, **options: Any) -> Service:
    """A service of policies that share one model."""
    config = policy.model.config
    return Service(
        Contract(policy.spec.select_cameras(list(config.cameras))),
        new_predictor=lambda: Policy(policy.model, policy.extractor, policy.spec),
        n_obs_steps=config.n_obs_steps,
        chunk_size=config.chunk_size,
        **options,
    )


def adding(contract: Contract | None = None, **options: Any) -> Service:
    """A service whose predictor answers at once."""
    contract = contract or Contract(SPEC.select_cameras(["front"]))
    options = {"new_predictor": Adder, "n_obs_steps": OBSERVED, "chunk_size": PREDICTED} | options
    return Service(contract, **options)


def observation(seed: int) -> Observation:
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in SPEC.cameras.items()}
    return {"images": images, "proprio": rng.standard_normal(3).astype(np.float32)}


def request(seed: int, **more: Any) -> dict[str, Any]:
    """A request of one camera."""
    seen = observation(seed)
    return {"images/front": seen["images"]["front"], "proprio": seen["proprio"], **more}


@dataclass
class Running:
    """A server that runs."""

    server: PolicyServer
    port: int
    thread: threading.Thread
    stop: Any

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def connect(self, **options: Any) -> ClientConnection:
        """A connection before its metadata is read."""
        return connect(self.url, **({"compression": None, "close_timeout": 2} | options))

    @contextmanager
    def client(self) -> Iterator[ByHand]:
        with self.connect() as connection:
            yield ByHand(connection)


class ByHand:
    """A client that sends what it is told to."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.metadata = unpack(connection.recv(timeout=10))  # type: ignore[arg-type]

    def infer(self, message: dict[str, Any]) -> dict[str, Any]:
        return self.raw(pack(message))

    def raw(self, data: bytes | str) -> Any:
        """The reply; text as it is."""
        self.connection.send(data)
        reply = self.connection.recv(timeout=10)
        return reply if isinstance(reply, str) else unpack(reply)


@contextmanager
def running(service: Service, limits: Limits | None = None, **options: Any) -> Iterator[Running]:
    """A server in a thread. Its end is part of the test: it must come within seconds, without an error."""
    server = PolicyServer(service, limits=limits, **options)
    started, found, failure = threading.Event(), {}, []

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        found["stop"] = lambda: loop.call_soon_threadsafe(stop.set)

        def tell(host: str, port: int) -> None:
            found["port"] = port
            started.set()

        await server.run(stop, tell)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10) and not failure, failure
    try:
        yield Running(server, found["port"], thread, found["stop"])
    finally:
        if thread.is_alive():
            found["stop"]()
        thread.join(15)
        assert not thread.is_alive() and not failure, failure
