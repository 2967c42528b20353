"""Training by parts: the data path alone, steps from the feature cache, steps with the encoder in the loop.

And whether memory stays bounded: windows of a synthetic feature store that is as large as one likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from s2robot.bench.options import BenchOptions, TrainBench
from s2robot.bench.stream import stream
from s2robot.commands import load_command
from s2robot.config.checks import check_device
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.data.windows import history_window
from s2robot.train.batches import Batches, Loader, Window
from s2robot.train.demos import Demos, choose_demos, decide_variants, load_episode_features
from s2robot.train.options import TrainOptions
from s2robot.train.run import Trainer, start
from s2robot.utils.distributed import World
from s2robot.vision.features import FeatureExtractor, make_extractor


def measure(bench: BenchOptions) -> tuple[dict[str, Any], Iterator[str]]:
    """What `s2robot bench train` finds."""
    check_device(bench.device)
    torch.set_num_threads(World().threads(bench.threads))
    given = [f"demos={bench.demo_store}", "out=unused", *bench.training]
    options: TrainOptions = load_command("train", given)[1]
    demos = choose_demos(options)
    options, _ = decide_variants(options, demos)
    episodes = [
        t for source in demos.sources for t in load_episode_features(source, demos.spec, options, World())
    ]
    device = torch.device(bench.device)
    result = {**_measure(bench.train, options, demos, episodes, device), **_streamed(bench)}
    shares = {
        "data_path_over_training": result["data_path"]["windows_per_second"]
        / (result["from_cache"]["steps_per_second"] * options.batch_size),
        "cache_over_encoder_in_the_loop": result["from_cache"]["steps_per_second"]
        / result["encoder_in_the_loop"]["steps_per_second"],
    }
    about = {"demos": len(demos), "batch_size": options.batch_size, "train": list(bench.training)}
    about |= {"threads": torch.get_num_threads(), "device": bench.device}
    return {**result, **shares, **about}, _lines(result, shares)


def _measure(
    section: TrainBench,
    options: TrainOptions,
    demos: Demos,
    episodes: Sequence[EpisodeFeatures],
    device: torch.device,
) -> dict[str, Any]:
    run = start(options, demos.spec, episodes, "", device)
    trainer = Trainer(options, run, World())
    dataset = WindowDataset(episodes, options.policy.n_obs_steps, options.policy.chunk_size)
    size, loaders = options.batch_size, options.loader_threads

    def loader(steps: int) -> Loader:
        return Loader(dataset, Batches(len(dataset), size, options.seed, 0, steps), loaders)

    count = -(-section.windows // size)
    for _ in loader(count):  # the files come into the page cache
        pass
    alone = _seconds(lambda: list(map(len, loader(count))))
    taken = loader(section.steps + 1)
    steps = iter(taken)
    trainer.step(next(steps))  # the first one is slower
    waited = taken.waited
    cached = _seconds(lambda: [trainer.step(parts) for parts in steps])
    encoder = make_extractor(options.encoder, options.bf16)
    batches = Batches(len(dataset), size, options.seed, 0, section.encoder_steps)
    looped = _seconds(
        lambda: [trainer.step([w]) for w in _encoded(dataset, batches, demos, options, encoder)]
    )
    return {
        "data_path": {"windows_per_second": count * size / alone, "windows": count * size},
        "from_cache": {
            "steps_per_second": section.steps / cached,
            "steps": section.steps,
            "waited": (taken.waited - waited) / cached,
        },
        "encoder_in_the_loop": {
            "steps_per_second": section.encoder_steps / looped,
            "steps": section.encoder_steps,
        },
    }


def _encoded(
    dataset: WindowDataset,
    batches: Batches,
    demos: Demos,
    options: TrainOptions,
    encoder: FeatureExtractor,
) -> Iterator[Window]:
    """The same windows, their features computed from frames of the store there and then."""
    episodes = [source.store.episode(i) for source in demos.sources for i in source.ids]
    starts = np.cumsum([0, *(episode.length for episode in episodes)])
    for [items] in batches:
        windows = []
        for item in items:
            index = int(np.searchsorted(starts, item, side="right")) - 1
            steps, _ = history_window(item - int(starts[index]), options.policy.n_obs_steps)
            first, last = int(steps[0]), int(steps[-1])
            window = dataset[item]
            for camera in demos.spec.cameras:
                frames = episodes[index].images(camera, slice(first, last + 1))[steps - first]
                window[f"features/{camera}"] = torch.from_numpy(encoder(frames))
            windows.append(window)
        yield default_collate(windows)


def _streamed(bench: BenchOptions) -> dict[str, Any]:
    if not bench.train.episodes:
        return {}
    with TemporaryDirectory(prefix="s2robot-bench-", dir=bench.scratch) as scratch:
        return {"synthetic_store": stream(Path(scratch), bench.train, bench.seed)}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _lines(result: dict[str, Any], shares: dict[str, float]) -> Iterator[str]:
    cached, looped = result["from_cache"], result["encoder_in_the_loop"]
    ratio = shares["data_path_over_training"]
    rate = result["data_path"]["windows_per_second"]
    yield f"data path alone          {rate:8.1f} windows/s, {ratio:.1f} x training"
    yield f"training from the cache  {cached['steps_per_second']:8.2f} steps/s, waited {cached['waited']:.1%}"
    ratio = shares["cache_over_encoder_in_the_loop"]
    rate = looped["steps_per_second"]
    yield f"encoder in the loop      {rate:8.4f} steps/s, the cache is {ratio:.0f} x faster"
    if synthetic := result.get("synthetic_store"):
        yield (
            f"{synthetic['episodes']:,} episodes          {synthetic['windows_per_second']:8.1f} windows/s, "
            f"{synthetic['peak_memory_gb']:.2f} GB of memory at most"
        )
