"""Zarr as Diffusion Policy's ReplayBuffer keeps it, and UMI's, which lies in a zip.

    data/<camera>        uint8 (N, H, W, 3)     all episodes, one after the other; `/` is written `%2F`
    data/proprio, data/action, data/action_applied   float32 (N, D)
    data/time            float64 (N,)
    meta/episode_ends    int64 (E,)             the step after the last of each episode
    .zattrs              the sidecar under `s2robot`

Zarr v2 is written, v3 is read too. Zstd is read by every numcodecs that they pin (from 0.10) and, unlike
Blosc, detects a truncated file. Files that s2robot did not write are read too.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr
from numcodecs import Zstd

from s2robot.config.options import Count
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.replay_buffer import (
    OURS,
    ReplayArrays,
    ReplayOptions,
    camera_array,
    open_replay_buffer,
)
from s2robot.data.formats.transfer import (
    EpisodeMeta,
    Incoming,
    IncomingEpisode,
    Notes,
    Outgoing,
    Sidecar,
    nominal_time,
)
from s2robot.data.store import Episode
from s2robot.data.streams import blocks

SERIES = {"proprio": "float32", "action": "float32", "action_applied": "float32", "time": "float64"}

COMPRESSOR = Zstd(level=3)
_CHUNK_BYTES = 2_000_000  # of a series: about what ReplayBuffer chooses


@dataclass(frozen=True)
class WriteOptions:
    """As `write` takes them."""

    frames_per_chunk: Count = 1


class DiffusionPolicy:
    """Zarr of Diffusion Policy and UMI, a folder or a zip (OUT ends in .zip)."""

    def read(self, source: Path, options: ReplayOptions) -> Incoming:
        return read(source, options)

    def write(self, outgoing: Outgoing, target: Path, options: WriteOptions) -> Notes:
        return write(outgoing, target, frames_per_chunk=options.frames_per_chunk)


def write(outgoing: Outgoing, target: Path, *, frames_per_chunk: int, compressor: Any = COMPRESSOR) -> Notes:
    """Writes a folder, or a zip where the target ends in `.zip`; `compressor` (numcodecs) is for frames.

    Raises UserError for a camera with the name of another array.
    """
    for camera in outgoing.spec.cameras:
        if camera in OURS:
            raise UserError(f"camera {camera}: data/{camera} is another array of a replay buffer")
    if target.suffix == ".zip":
        with TemporaryDirectory(dir=target.parent, prefix=target.name) as folder:
            _write_folder(outgoing, Path(folder), frames_per_chunk, compressor)
            _zip(Path(folder), target)
    else:
        _write_folder(outgoing, target, frames_per_chunk, compressor)
    notes = Notes(kept=["action_applied and time as further arrays under data/"])
    notes.kept.append("names, units, rate, ids and attributes in the root's attributes under `s2robot`")
    escaped = [camera for camera in outgoing.spec.cameras if camera_array(camera) != camera]
    notes.kept += [f"camera {camera} as data/{camera_array(camera)}" for camera in escaped]
    notes.lost = outgoing.masked_steps()
    return notes


def read(source: Path, options: ReplayOptions) -> Incoming:
    """What a folder or zip holds. Raises UserError as `open_replay_buffer`."""
    arrays, sidecar = open_replay_buffer(source, options)
    notes = arrays.notes
    metas = sidecar.of_episodes(len(arrays.ends), notes)
    episodes = _episodes(arrays, sidecar, metas)
    return Incoming(sidecar.spec, sidecar.attributes, len(metas), episodes, notes, arrays.ours)


def _write_folder(outgoing: Outgoing, folder: Path, frames_per_chunk: int, compressor: Any) -> None:
    lengths = outgoing.lengths()
    sidecar = {"s2robot": outgoing.sidecar().to_dict()}
    root = zarr.create_group(folder, zarr_format=2, attributes=sidecar)
    steps = sum(lengths)
    data = root.create_group("data")
    arrays = {}
    for camera, shape in outgoing.spec.cameras.items():
        arrays[camera] = _create(
            data, camera_array(camera), "uint8", (steps, *shape), frames_per_chunk, compressor
        )
    sizes = {"proprio": outgoing.spec.proprio_dim, "time": None}
    for name, dtype in SERIES.items():
        size = sizes.get(name, outgoing.spec.action_dim)
        shape = (steps,) if size is None else (steps, size)
        chunk = _CHUNK_BYTES // (np.dtype(dtype).itemsize * (size or 1))
        arrays[name] = _create(data, name, dtype, shape, chunk, COMPRESSOR)
    _fill(arrays, outgoing)
    ends = np.cumsum(lengths, dtype=np.int64)
    array = root.create_group("meta").create_array(
        "episode_ends", shape=ends.shape, dtype=ends.dtype, chunks=ends.shape, compressors=None
    )
    array[:] = ends


def _create(
    group: zarr.Group, name: str, dtype: str, shape: tuple[int, ...], chunk_steps: int, compressor: Any
) -> zarr.Array:
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(max(1, min(chunk_steps, shape[0])), *shape[1:]),
        compressors=compressor,
        config={"write_empty_chunks": True},  # a missing file is always a loss
    )


def _fill(arrays: Mapping[str, zarr.Array], outgoing: Outgoing) -> None:
    """Writes through the arrays as they were made: opened again, they would leave out chunks of zeros."""
    first = 0
    for episode in outgoing.episodes:
        steps = slice(first, first + episode.length)
        for camera in outgoing.spec.cameras:
            for start, block in blocks(episode.frames(camera), arrays[camera].chunks[0]):
                arrays[camera][first + start : first + start + len(block)] = block
        for name in SERIES:
            arrays[name][steps] = getattr(episode, name)
        first = steps.stop


def _zip(folder: Path, target: Path) -> None:
    """As ZipStore reads it: stored, since the chunks are compressed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())


def _episodes(arrays: ReplayArrays, sidecar: Sidecar, metas: list[EpisodeMeta]) -> Iterator[IncomingEpisode]:
    first = 0
    for number, (end, (episode_id, attributes)) in enumerate(zip(arrays.ends, metas, strict=True)):
        steps = slice(first, int(end))
        load = partial(_episode, arrays, sidecar.spec, steps, attributes)
        yield IncomingEpisode(episode_id or f"episode {number}", load, episode_id)
        first = steps.stop


def _episode(arrays: ReplayArrays, spec: RobotSpec, steps: slice, attributes: dict[str, Any]) -> Episode:
    action = arrays.series("action", steps)
    time = arrays.time(steps)
    return Episode(
        images={camera: arrays.frames(camera, steps) for camera in spec.cameras},
        proprio=arrays.series("proprio", steps),
        action=action,
        action_applied=arrays.applied(steps, action),
        time=nominal_time(len(action), spec.rate) if time is None else time,
        attributes=attributes,
    )
