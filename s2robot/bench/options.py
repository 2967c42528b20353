"""The options of `s2robot bench`: those of every part, and a section for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Len

from s2robot.config.options import Count, Natural, NonNegative
from s2robot.core.errors import UserError
from s2robot.integrations.lerobot.environment import EnvironmentOptions
from s2robot.vision.encoders.engine import Engine
from s2robot.vision.encoders.options import EncoderOptions, Grid, Sizes


@dataclass(frozen=True)
class EncodeBench:
    encoders: Annotated[tuple[str, ...], Len(1)]
    sizes: tuple[Sizes, ...]
    resize_to: int | Grid
    device: str
    bf16: bool | None
    engines: Annotated[tuple[Engine, ...], Len(1)]
    frames: Count
    rounds: Count
    control_steps: Count
    memory: bool


@dataclass(frozen=True)
class DiskBench:
    episodes: Count
    listed: Count
    rounds: Count


@dataclass(frozen=True)
class RolloutBench:
    starts: Count
    workers: Annotated[tuple[Count, ...], Len(1)]
    rounds: Count


@dataclass(frozen=True)
class TrainBench:
    windows: Count
    steps: Count
    encoder_steps: Count
    episodes: Natural
    shape: tuple[Count, Count]


@dataclass(frozen=True)
class OwnCode:
    """Of another project: a clone, and a virtual environment that has what it needs."""

    code: str | None
    environment: str | None


@dataclass(frozen=True)
class PeersBench:
    episodes: Count
    steps: Count
    seconds: NonNegative
    lerobot: tuple[Literal["act", "diffusion"], ...]
    diffusion_policy: OwnCode


@dataclass(frozen=True)
class ProcessesBench:
    counts: Annotated[tuple[Count, ...], Len(1)]
    epochs: Count


@dataclass(frozen=True)
class StoreBench:
    episodes: Count
    windows: Count
    rounds: Count
    features: str | None
    bf16: bool | None
    lerobot_images: tuple[Literal["image", "video"], ...]


@dataclass(frozen=True)
class ImportsBench:
    frames: Count
    size: tuple[Count, Count]


@dataclass(frozen=True)
class ServeBench:
    requests: Count


@dataclass(frozen=True)
class StartBench:
    rounds: Count


@dataclass(frozen=True)
class BenchOptions:
    """See configs/bench.yaml."""

    what: Literal[
        "encode",
        "disk",
        "rollout",
        "train",
        "peers",
        "processes",
        "store",
        "imports",
        "serve",
        "start",
        "all",
    ]
    demos: str | None
    checkpoint: str | None
    device: str
    out: str
    overwrite: bool
    seed: Natural
    threads: Count | None
    scratch: str | None
    training: tuple[str, ...]
    lerobot: EnvironmentOptions
    encoder: EncoderOptions
    encode: EncodeBench
    disk: DiskBench
    rollout: RolloutBench
    train: TrainBench
    peers: PeersBench
    processes: ProcessesBench
    store: StoreBench
    imports: ImportsBench
    serve: ServeBench
    start: StartBench

    @property
    def demo_store(self) -> str:
        """`demos`. Raises UserError where it is not given."""
        if self.demos is None:
            raise UserError(f"bench {self.what} needs demos=PATH, a demo store")
        return self.demos
