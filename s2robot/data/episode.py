"""One episode: its arrays in memory, the checks it must pass, its Zarr group on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.core.task import Start
from s2robot.data.durable import DiskError
from s2robot.data.seal import sealed
from s2robot.data.streams import Frames, blocks

if TYPE_CHECKING:
    import zarr

    from s2robot.data.jpeg import Jpeg

CHUNK_STEPS = 4  # frames a chunk: fewer cost size, more are decoded in vain for a window of 16
_ERROR_STEPS = 16  # frames of which the error of a lossy codec is taken

SERIES = ("proprio", "action", "action_applied", "time")
MARKER = "zarr.json"
"""What makes a folder a Zarr group, and an episode."""


@dataclass
class Episode:
    """One episode before it is written: T steps, every array of length T.

    Attributes:
        images: camera -> uint8 (T, H, W, 3), an array or frames that are read as they are written.
        proprio: float32 (T, Dp).
        action: float32 (T, Da), what was asked for.
        action_applied: float32 (T, Da), what the robot took.
        time: float64 (T,), seconds, measured, never decreasing.
        attributes: JSON: success, seed, start, action_loss_mask, versions, config and others; the store adds
            `length`.
    """

    images: Mapping[str, Frames]
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
        check_array(f"images/{camera}", episode.images.get(camera), np.uint8, (steps, *shape))
    check_array("time", episode.time, np.float64, (steps,))
    check_time(episode.time)
    entries = {"proprio": spec.proprio, "action": spec.action, "action_applied": spec.action}
    for name, labels in entries.items():
        array = getattr(episode, name)
        check_array(name, array, np.float32, (steps, len(labels)))
        check_finite(name, array, labels)
    check_json(episode.attributes)


def check_array(name: str, array: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Raises UserError for an array, in memory or on disk, of another type or shape."""
    expected = f"{np.dtype(dtype)} {shape}"
    if not (hasattr(array, "dtype") and hasattr(array, "shape")):
        raise UserError(f"{name} is {type(array).__name__}, expected an array, {expected}")
    if array.dtype != dtype or array.shape != shape:
        raise UserError(f"{name} is {array.dtype} {array.shape}, expected {expected}")


def check_finite(name: str, array: np.ndarray, labels: tuple[str, ...]) -> None:
    """Raises UserError naming the first step and entry that is not finite."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        step, entry = bad[0]
        raise UserError(f"{name}[{step}] '{labels[entry]}' is {array[step, entry]}: expected finite numbers")


def check_time(time: np.ndarray) -> None:
    """Raises UserError naming the first step whose time is not finite or before that of the last."""
    bad = np.flatnonzero(~np.isfinite(time))
    if len(bad):
        raise UserError(f"time[{bad[0]}] is {time[bad[0]]}: expected finite seconds")
    back = np.flatnonzero(np.diff(time) < 0)
    if len(back):
        step = back[0] + 1
        raise UserError(f"time[{step}] is {time[step]} s after {time[step - 1]} s: time must not decrease")


def recorded_start(attributes: Mapping[str, Any]) -> Start | None:
    """The start among an episode's attributes; None where none was recorded.

    Raises UserError for one that is damaged.
    """
    if "start" not in attributes:
        return None
    start = Start.from_dict(attributes["start"])
    if not np.isfinite(start.place or ()).all():
        raise UserError(f"a start is damaged (its place is not finite): {attributes['start']}")
    return start


def check_json(attributes: Mapping[str, Any]) -> None:
    """Raises UserError naming the first attribute that is not plain JSON (numpy scalars and nan are not)."""
    for name, value in attributes.items():
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(f"attribute '{name}' cannot be written as JSON: {error}") from error


def write_episode(folder: Path, episode: Episode, codec: Jpeg | None = None) -> None:
    """Writes a checked episode as a Zarr v3 group into an empty folder, without syncing it to disk.

    With a lossy codec for the frames, the attribute `image_error` says what it did to the first of each.
    """
    import zarr  # here: it takes longer than listing a store
    from zarr.codecs import Crc32cCodec, ZstdCodec

    attributes = {**episode.attributes, "length": episode.length}
    if codec is not None:
        cameras = episode.images.items()
        attributes["image_error"] = {name: codec.error(f[:_ERROR_STEPS]).to_dict() for name, f in cameras}
    group = zarr.create_group(folder, zarr_format=3, attributes=sealed(attributes))
    for camera, frames in episode.images.items():
        _write_frames(folder, group, f"images/{camera}", frames, codec)
    for name in SERIES:
        codecs = {"compressors": [ZstdCodec(level=3), Crc32cCodec()]}
        series = getattr(episode, name)
        _create_array(group, name, series, episode.length, codecs)[:] = series


def check_staged(folder: Path, spec: RobotSpec) -> None:
    """Raises DiskError where files are gone of an episode that has just been written."""
    try:
        steps = json.loads((folder / MARKER).read_text())["attributes"]["length"]
        for name in (*SERIES, *(f"images/{camera}" for camera in spec.cameras)):
            array = folder / name
            metadata = json.loads((array / MARKER).read_text())
            size = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
            if metadata["shape"][0] != steps or len(list(array.glob("c*"))) != -(-steps // size):
                raise LookupError(name)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise DiskError(
            f"files of the episode in {folder} went away while it was written: it is not kept; "
            "is anything else clearing that folder?"
        ) from error


def _write_frames(folder: Path, group: zarr.Group, name: str, frames: Frames, codec: Jpeg | None) -> None:
    from zarr.codecs import Crc32cCodec

    from s2robot.data.frames import lossless, write_frames

    steps = min(CHUNK_STEPS, len(frames))
    if codec is None:
        array = _create_array(group, name, frames, steps, lossless())
        write_frames(array, frames, lambda key, content: Path(folder, name, key).write_bytes(content))
    else:
        codecs = {"serializer": codec, "compressors": [Crc32cCodec()]}
        array = _create_array(group, name, frames, steps, codecs)
        for start, block in blocks(frames, steps):
            array[start : start + len(block)] = block


def _create_array(
    group: zarr.Group, name: str, like: np.ndarray | Frames, chunk_steps: int, codecs: dict[str, Any]
) -> zarr.Array:
    return group.create_array(
        name,
        shape=like.shape,
        dtype=like.dtype,
        chunks=(chunk_steps, *like.shape[1:]),
        **codecs,
        # One file a chunk in one folder: three folders a chunk fewer to sync.
        chunk_key_encoding={"name": "default", "separator": "."},
        # A black frame has its file too, so a missing file is always a loss.
        config={"write_empty_chunks": True},
    )
