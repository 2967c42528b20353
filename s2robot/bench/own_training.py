"""Our own training as `s2robot bench peers` times it: the demos encoded once, then steps from the cache."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from s2robot.bench.options import BenchOptions
from s2robot.bench.peer_training import measured
from s2robot.commands import load_command
from s2robot.data.dataset import WindowDataset
from s2robot.data.formats.transfer import Outgoing
from s2robot.train.batches import Batches, Loader
from s2robot.train.demos import Demos, choose_demos, load_episode_features
from s2robot.train.options import TrainOptions
from s2robot.train.run import Trainer, start
from s2robot.utils.distributed import World
from s2robot.utils.workers import run_jobs
from s2robot.vision.features import computes_in_bf16, make_extractor


@dataclass(frozen=True)
class Setting:
    """What every policy is trained on, and how.

    Attributes:
        demos: all that a training would take.
        used: the first of them, which the measurement takes.
    """

    bench: BenchOptions
    options: TrainOptions
    demos: Demos

    @classmethod
    def of(cls, bench: BenchOptions) -> Setting:
        """Raises UserError as `choose_demos`."""
        given = [f"demos={bench.demo_store}", "out=unused", *bench.training]
        options: TrainOptions = load_command("train", given)[1]
        return cls(bench, options, choose_demos(options))

    @property
    def threads(self) -> int:
        """Threads of torch, for each policy."""
        return World().threads(self.bench.threads)

    @cached_property
    def used(self) -> Demos:
        [source] = self.demos.sources
        return replace(self.demos, sources=(replace(source, ids=source.ids[: self.bench.peers.episodes]),))

    @property
    def outgoing(self) -> Outgoing:
        """The demos that are used, for export."""
        [source] = self.used.sources
        return Outgoing(source.store, self.used.spec, list(source.ids))

    @cached_property
    def windows(self) -> int:
        """Of all demos: one a step."""
        [source] = self.demos.sources
        return sum(source.store.episode(i).length for i in source.ids)


def train(setting: Setting, scratch: Path) -> dict[str, Any]:
    """Encodes and trains in a process of its own; the features are written to the scratch folder."""
    [found] = run_jobs(_train, [scratch], workers=1, start=_same, start_args=(setting,))
    return found


def _same(setting: Setting) -> Setting:
    return setting


def _train(setting: Setting, scratch: Path) -> dict[str, Any]:
    torch.set_num_threads(setting.threads)
    demos, section = setting.used, setting.bench.peers
    options = replace(setting.options, features=str(scratch / "features"), encode_workers=0)
    began = time.perf_counter()
    episodes = load_episode_features(demos.sources[0], demos.spec, options, World())
    encoding = time.perf_counter() - began
    run = start(options, demos.spec, episodes, "", torch.device("cpu"))
    trainer = Trainer(options, run, World())
    dataset = WindowDataset(episodes, options.policy.n_obs_steps, options.policy.chunk_size)
    endless = Batches(len(dataset), options.batch_size, setting.bench.seed, 0, sys.maxsize)
    batches = iter(Loader(dataset, endless, options.loader_threads))
    found = measured(lambda: trainer.step(next(batches))["total"], run.model, section.steps, section.seconds)
    encoder = make_extractor(options.encoder, options.bf16).encoder
    found["frozen_parameters"] += sum(p.numel() for p in encoder.parameters())
    in_bf16 = computes_in_bf16("cpu") if options.precision is None else options.precision == "bf16"
    return {
        **found,
        "image_size": list(options.encoder.sizes),
        "n_obs_steps": options.policy.n_obs_steps,
        "chunk_size": options.policy.chunk_size,
        "usual_windows": options.steps * options.batch_size,
        "encode_seconds_a_window": encoding / len(dataset),
        "precision": "bf16" if in_bf16 else "fp32",
        "torch": torch.__version__,
    }
