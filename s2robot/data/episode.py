"""One episode: its arrays in memory, the checks it must pass, its Zarr group on disk, its reader."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from s2robot.data.jpeg import Jpeg
from s2robot.errors import UserError, unknown
from s2robot.spec import RobotSpec

CHUNK_STEPS = 16  # frames a chunk: one history window touches two chunks at most

# What zarr and its codecs raise on reading files that are cut short, altered or gone.
_DAMAGE = (ValueError, RuntimeError, LookupError, TypeError, FileNotFoundError)


@dataclass
class Episode:
    """One episode in memory: T steps, every array of length T.

    Attributes:
        images: camera -> uint8 (T, H, W, 3).
        proprio: float32 (T, Dp).
        action: float32 (T, Da), what was asked for.
        action_applied: float32 (T, Da), what the robot took.
        time: float64 (T,), seconds, measured, never decreasing.
        attributes: fit for JSON: success, seed, versions, config and whatever else; the store adds `length`.
    """

    images: dict[str, np.ndarray]
    proprio: np.ndarray
    action: np.ndarray
    action_applied: np.ndarray
    time: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """T, the number of steps."""
        return len(self.time)


def check_episode(episode: Episode, spec: RobotSpec) -> None:
    """Raises UserError, naming array, step and entry, where an episode is not what the spec says."""
    steps = episode.length
    if steps < 1:
        raise UserError("the episode has no steps: expected at least 1")
    for camera in episode.images:
        if camera not in spec.cameras:
            raise unknown("camera", camera, spec.cameras)
    for camera, shape in spec.cameras.items():
        _check_array(f"images/{camera}", episode.images.get(camera), np.uint8, (steps, *shape))
    _check_array("time", episode.time, np.float64, (steps,))
    _check_time(episode.time)
    entries = {"proprio": spec.proprio, "action": spec.action, "action_applied": spec.action}
    for name, labels in entries.items():
        array = getattr(episode, name)
        _check_array(name, array, np.float32, (steps, len(labels)))
        _check_finite(name, array, labels)
    check_json(episode.attributes)


def _check_array(name: str, array: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    expected = f"{np.dtype(dtype)} {shape}"
    if not isinstance(array, np.ndarray):
        raise UserError(f"{name} is {type(array).__name__}, expected an array, {expected}")
    if array.dtype != dtype or array.shape != shape:
        raise UserError(f"{name} is {array.dtype} {array.shape}, expected {expected}")


def _check_finite(name: str, array: np.ndarray, labels: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        step, entry = bad[0]
        raise UserError(f"{name}[{step}] '{labels[entry]}' is {array[step, entry]}: expected finite numbers")


def _check_time(time: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(time))
    if len(bad):
        raise UserError(f"time[{bad[0]}] is {time[bad[0]]}: expected finite seconds")
    back = np.flatnonzero(np.diff(time) < 0)
    if len(back):
        step = back[0] + 1
        raise UserError(f"time[{step}] is {time[step]} s after {time[step - 1]} s: time must not decrease")


def check_json(attributes: Mapping[str, Any]) -> None:
    """Raises UserError naming the first attribute that is not plain JSON (numpy scalars and nan are not)."""
    for name, value in attributes.items():
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(f"attribute '{name}' cannot be written as JSON: {error}") from error


def write_episode(folder: Path, episode: Episode, codec: Jpeg | None = None) -> None:
    """Writes a checked episode as a Zarr v3 group into an empty folder, without syncing it to disk.

    With a lossy codec for the frames, the attribute `image_error` says what it did to the first chunk of each
    camera.
    """
    attributes = {**episode.attributes, "length": episode.length}
    if codec is not None:
        cameras = episode.images.items()
        attributes["image_error"] = {name: codec.error(f[:CHUNK_STEPS]).to_dict() for name, f in cameras}
    group = zarr.create_group(folder, zarr_format=3, attributes=attributes)
    for camera, frames in episode.images.items():
        _write_array(group, f"images/{camera}", frames, min(CHUNK_STEPS, episode.length), codec)
    for name in ("proprio", "action", "action_applied", "time"):
        _write_array(group, name, getattr(episode, name), episode.length)


def _write_array(
    group: zarr.Group, name: str, array: np.ndarray, chunk_steps: int, codec: Jpeg | None = None
) -> None:
    group.create_array(
        name,
        data=array,
        chunks=(chunk_steps, *array.shape[1:]),
        serializer=codec or "auto",
        compressors=[*([] if codec else [ZstdCodec(level=3)]), Crc32cCodec()],
        # One file a chunk in one folder: three folders a chunk fewer to sync.
        chunk_key_encoding={"name": "default", "separator": "."},
        # A black frame has its file too, so a missing file is always a loss.
        config={"write_empty_chunks": True},
    )


class EpisodeReader:
    """A committed episode, read from disk on demand.

    Whatever is read from files that are cut short, altered or gone raises UserError.
    """

    def __init__(self, folder: Path, spec: RobotSpec) -> None:
        self._folder = folder
        self._spec = spec
        self._arrays: dict[str, zarr.Array] = {}

    @property
    def id(self) -> str:
        """The episode's name within its store."""
        return self._folder.name

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What was known of the episode: success, seed, versions, config, length, ..."""
        with self._intact("zarr.json"):
            return dict(zarr.open_group(self._folder, mode="r").attrs)

    @property
    def length(self) -> int:
        """T, the number of steps."""
        with self._intact("zarr.json"):
            return int(self.attributes["length"])

    @property
    def proprio(self) -> np.ndarray:
        """float32 (T, Dp)."""
        return self._read("proprio", 0, self.length)

    @property
    def action(self) -> np.ndarray:
        """float32 (T, Da), what was asked for."""
        return self._read("action", 0, self.length)

    @property
    def action_applied(self) -> np.ndarray:
        """float32 (T, Da), what the robot took."""
        return self._read("action_applied", 0, self.length)

    @property
    def time(self) -> np.ndarray:
        """float64 (T,), seconds."""
        return self._read("time", 0, self.length)

    def images(self, camera: str, index: int | slice = slice(None)) -> np.ndarray:
        """Frames of one camera: uint8 (H, W, 3) for an int, (n, H, W, 3) for a slice, as numpy indexes.

        Reads only the chunks that hold them. Raises UserError for an unknown camera, IndexError for a step
        beyond the episode.
        """
        if camera not in self._spec.cameras:
            raise unknown("camera", camera, self._spec.cameras)
        name = f"images/{camera}"
        steps = range(self.length)[index]
        if isinstance(steps, int):
            return self._read(name, steps, steps + 1)[0]
        if not steps:
            return np.empty((0, *self._spec.cameras[camera]), np.uint8)
        return self._read(name, min(steps), max(steps) + 1)[:: steps.step]

    def digest(self) -> str:
        """sha256, in hex, of what the episode holds.

        Cheap: of the frames it takes only the size and the stored checksum of each chunk.
        """
        total = hashlib.sha256()
        for file in sorted(p for p in self._folder.rglob("*") if p.is_file()):
            name = file.relative_to(self._folder).as_posix()
            content = _chunk_identity(file) if _is_frame_chunk(name) else file.read_bytes()
            total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return total.hexdigest()

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Steps start to stop of one array."""
        with self._intact(name):
            array = self._array(name)
            self._check_chunks(name, array, start, stop)
            return np.asarray(array[start:stop])

    def _array(self, name: str) -> zarr.Array:
        if name not in self._arrays:
            self._arrays[name] = zarr.open_array(self._folder / name, mode="r")
        return self._arrays[name]

    def _check_chunks(self, name: str, array: zarr.Array, start: int, stop: int) -> None:
        # Zarr reads a missing chunk as zeros, without a word.
        steps, *rest = array.chunks
        for chunk in range(start // steps, (stop - 1) // steps + 1):
            key = array.metadata.encode_chunk_key((chunk, *(0 for _ in rest)))
            if not (self._folder / name / key).is_file():
                raise FileNotFoundError(f"{key} is missing")

    @contextmanager
    def _intact(self, name: str) -> Iterator[None]:
        where = f"episode {self.id} of {self._folder.parent}: {name}"
        try:
            yield
        except _DAMAGE as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{where} is damaged ({reason}): drop this episode and record another") from error
        except OSError as error:
            raise UserError(f"{where} cannot be read: {error.strerror or error}") from error


def _is_frame_chunk(name: str) -> bool:
    return name.startswith("images/") and not name.endswith("zarr.json")


def _chunk_identity(file: Path) -> bytes:
    """Size and last four bytes of a chunk file: the last codec puts its CRC-32C there."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - 4), os.SEEK_SET)
        return f"{size} ".encode() + stream.read()
