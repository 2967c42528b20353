"""Random windows of a synthetic feature store: how many a second, and how much memory they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.bench.options import TrainBench
from s2robot.bench.peer_training import peak_resident
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.data.memmap import MappedArray
from s2robot.train.batches import Batches, Loader
from s2robot.utils.progress import Progress
from s2robot.utils.workers import run_jobs

_STEPS, _PROPRIO, _ACTION = 30, 15, 4
_FOLDER = 1000  # files


def stream(folder: Path, section: TrainBench, seed: int) -> dict[str, Any]:
    """Makes the store and reads it, in a process of its own whose memory nothing else has touched."""
    make(folder, section.episodes, section.shape, seed)
    [result] = run_jobs(_read, [(section, seed)], workers=1, start=Path, start_args=(folder,))
    return result


def make(folder: Path, episodes: int, shape: Sequence[int], seed: int) -> None:
    """A file of features (30, tokens, channels) for every episode."""
    features = np.random.default_rng(seed).standard_normal((_STEPS, *shape)).astype(np.float16)
    for index in Progress(range(episodes), desc="synthetic store", unit="episode"):
        path = place(folder, index)
        if index % _FOLDER == 0:
            path.parent.mkdir()
        features[0, 0, 0] = index % 2048  # no two neighbours are the same file; float16 counts so far
        np.save(path, features)


def place(folder: Path, index: int) -> Path:
    """Where the features of an episode lie."""
    return folder / f"{index // _FOLDER:05d}" / f"{index:07d}.npy"


def _read(folder: Path, job: tuple[TrainBench, int]) -> dict[str, Any]:
    section, seed = job
    began = time.perf_counter()
    tracks = [_track(folder, index) for index in range(section.episodes)]
    opened = time.perf_counter() - began
    dataset = WindowDataset(tracks)
    count = -(-section.windows // 8)
    began = time.perf_counter()
    read = 0
    for [window] in Loader(dataset, Batches(len(dataset), 8, seed, 0, count), 1):
        read += window["features/front"].nbytes
    seconds = time.perf_counter() - began
    return {
        "episodes": section.episodes,
        "shape": list(section.shape),
        "size_gb": sum(t.features["front"].nbytes for t in tracks) / 1e9,
        "seconds_to_open": opened,
        "windows_per_second": 8 * count / seconds,
        "mb_per_second": read / seconds / 1e6,
        "peak_memory_gb": peak_resident() / 1e9,
    }


def _track(folder: Path, index: int) -> EpisodeFeatures:
    rng = np.random.default_rng(index)
    return EpisodeFeatures(
        {"front": MappedArray.open(place(folder, index))},
        rng.standard_normal((_STEPS, _PROPRIO), dtype=np.float32),
        rng.standard_normal((_STEPS, _ACTION), dtype=np.float32),
        np.ones(_STEPS, bool),
    )
