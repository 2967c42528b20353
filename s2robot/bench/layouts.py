"""The same demos in several layouts, each with a way to read windows from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc

from s2robot.bench.options import BenchOptions
from s2robot.data.dataset import EpisodeFeatures, Ta, To, WindowDataset
from s2robot.data.formats import diffusion_policy
from s2robot.data.formats.lerobot.files import V30
from s2robot.data.formats.lerobot.writer import write
from s2robot.data.formats.target import size_of
from s2robot.data.formats.transfer import Outgoing
from s2robot.data.formats.zarr_files import register_image_codecs
from s2robot.integrations.lerobot.process import Bridge
from s2robot.vision.cache import encode_store

Window = tuple[int, int]
"""Index of the episode, and the step at which the window ends."""


@dataclass(frozen=True)
class Contestant:
    """One layout.

    Attributes:
        size: bytes of its frames, or of the features in their place.
        read: reads windows and returns the seconds that it took.
    """

    name: str
    size: float
    read: Callable[[list[Window]], float]


def contestants(
    outgoing: Outgoing, scratch: Path, options: BenchOptions, stack: ExitStack
) -> Iterator[Contestant]:
    """Writes the demos in every layout to `scratch`; what is open is closed with the stack."""
    yield _store(outgoing)
    yield _feature_cache(outgoing, options)
    for name, (frames, compressor) in _replay_buffers(outgoing).items():
        yield _replay_buffer(f"diffusion_policy, {name}", outgoing, scratch, frames, compressor)
    for images in options.store.lerobot_images:
        yield _lerobot(outgoing, scratch, images, options, stack)


def _store(outgoing: Outgoing) -> Contestant:
    """Frames from disk; the numbers stay in memory, as in training, and so they do for the others."""
    episodes = outgoing.episodes
    series = [(episode.proprio, episode.action) for episode in episodes]
    folders = [Path(outgoing.store.path, episode.id, "images") for episode in episodes]

    def read(episode: int, step: int) -> None:
        steps = slice(step - To + 1, step + 1)
        _ = {camera: episodes[episode].images(camera, steps) for camera in outgoing.spec.cameras}
        _take(*series[episode], step)

    return Contestant("store", sum(map(size_of, folders)), partial(_timed, read))


def _feature_cache(outgoing: Outgoing, options: BenchOptions) -> Contestant:
    """What `s2robot train` reads: `WindowDataset` over the memory-mapped features."""
    section = options.store
    cache = encode_store(options.demo_store, section.features, options.encoder, bf16=section.bf16, workers=0)
    tracks = []
    for episode in outgoing.episodes:
        features: dict[str, Any] = {
            c: cache.load(outgoing.store, episode.id, c) for c in outgoing.spec.cameras
        }
        tracks.append(
            EpisodeFeatures(features, episode.proprio, episode.action, np.ones(episode.length, bool))
        )
    dataset = WindowDataset(tracks)
    starts = np.cumsum([0, *outgoing.lengths()])
    size = sum(features.nbytes for track in tracks for features in track.features.values())
    return Contestant("feature cache", size, partial(_timed, lambda e, t: dataset[int(starts[e]) + t]))


def _replay_buffers(outgoing: Outgoing) -> dict[str, tuple[int, Any]]:
    """Frames a chunk and compressor: without loss a frame each; as ReplayBuffer chooses; as its scripts do.

    Those for images (`real_data_conversion`, `robomimic_replay_image_dataset`) take JPEG 2000 of level 50, a
    frame each, for which imagecodecs is needed; without it that layout is left out.
    """
    frame = int(np.prod(next(iter(outgoing.spec.cameras.values()))))
    default = Blosc("lz4", 5, Blosc.NOSHUFFLE)
    layouts = {"zstd": (1, diffusion_policy.COMPRESSOR), "default": (-(-2_000_000 // frame), default)}
    try:
        from imagecodecs.numcodecs import Jpeg2k  # type: ignore[import-not-found]
    except ImportError:
        return layouts
    register_image_codecs()
    return layouts | {"jpeg2k": (1, Jpeg2k(level=50))}


def _replay_buffer(
    name: str, outgoing: Outgoing, scratch: Path, frames_per_chunk: int, compressor: Any
) -> Contestant:
    folder = scratch / name
    diffusion_policy.write(outgoing, folder, frames_per_chunk=frames_per_chunk, compressor=compressor)
    data: Any = zarr.open_group(folder, mode="r", zarr_format=2)["data"]
    cameras = {camera: data[camera] for camera in outgoing.spec.cameras}
    proprio, action = data["proprio"][:], data["action"][:]
    starts = np.cumsum([0, *outgoing.lengths()])

    def read(episode: int, step: int) -> None:
        first, last = starts[episode], starts[episode + 1]
        at = int(first) + step
        _ = {camera: array[at - To + 1 : at + 1] for camera, array in cameras.items()}
        _take(proprio[first:last], action[first:last], step)

    size = sum(size_of(folder / "data" / camera) for camera in cameras)
    return Contestant(name, size, partial(_timed, read))


def _lerobot(
    outgoing: Outgoing, scratch: Path, images: str, options: BenchOptions, stack: ExitStack
) -> Contestant:
    """lerobot's own dataset class in its own process, frames left as uint8; it takes the time itself."""
    folder = scratch / f"lerobot-{images}"
    find_python = options.lerobot.find_python
    write(outgoing, folder, V30, images=images, instruction="")
    bridge = stack.enter_context(Bridge(find_python(), "windows", folder))
    bridge.send({"size": To})
    starts = np.cumsum([0, *outgoing.lengths()])

    def read(windows: list[Window]) -> float:
        head, _ = bridge.ask({"steps": [int(starts[episode]) + step for episode, step in windows]})
        return float(head["seconds"])

    files = folder / ("data" if images == "image" else "videos")
    return Contestant(f"lerobot, {images}", size_of(files), read)


def _take(proprio: np.ndarray, action: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Proprioception up to a step, actions from it on."""
    return proprio[step - To + 1 : step + 1].copy(), action[step : step + Ta].copy()


def _timed(read: Callable[[int, int], object], windows: list[Window]) -> float:
    began = time.perf_counter()
    for episode, step in windows:
        read(episode, step)
    return time.perf_counter() - began
