"""An episode as it is read back, whatever happened to its files."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.data.episode import MARKER
from s2robot.data.files import Files, LocalFiles
from s2robot.data.seal import DIGEST, sealed, unsealed
from s2robot.data.streams import LazyFrames

if TYPE_CHECKING:
    import zarr

# What zarr and its codecs raise on reading files that are cut short, altered or gone.
_DAMAGE = (
    *(ValueError, RuntimeError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, FileNotFoundError),
)
# What the system says of a file that is broken or replaced by something else, as against out of reach.
_BROKEN_FILE = {errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}


class Damaged(UserError):
    """What a file of an episode holds cannot be read.

    Attributes:
        name: the array, or `zarr.json`.
        reason: in words, e.g. `c.1.0.0.0 is missing`.
    """

    def __init__(self, where: str, name: str, reason: str) -> None:
        super().__init__(f"{where}: {name} is damaged ({reason}): drop this episode and record another")
        self.name, self.reason = name, reason


class Unreachable(UserError):
    """A file cannot be read now (no permission, no connection). It may be in order."""


class EpisodeReader:
    """A committed episode, read on demand.

    Whatever is read from files that are cut short, altered or gone raises Damaged, and Unreachable where they
    may be in order; both are UserErrors.
    """

    def __init__(self, files: Files, episode_id: str, spec: RobotSpec) -> None:
        self.id = episode_id
        """The episode's name within its store."""
        self._files = files
        self._spec = spec
        self._arrays: dict[str, zarr.Array] = {}

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What was known of the episode: success, seed, versions, config, length, ..."""
        with self._intact(MARKER):
            return unsealed(self._written)

    @property
    def has_digest(self) -> bool:
        """Whether an edit of the attributes would be seen."""
        with self._intact(MARKER):
            return DIGEST in self._written

    @cached_property
    def _written(self) -> dict[str, Any]:
        # Read as it is: zarr takes ten times as long, which shows where a thousand episodes are listed.
        return dict(json.loads(self._files.read(f"{self.id}/{MARKER}"))["attributes"])

    @property
    def length(self) -> int:
        """T, the number of steps."""
        with self._intact(MARKER):
            return int(self.attributes["length"])

    @property
    def proprio(self) -> np.ndarray:
        """float32 (T, Dp)."""
        return self.read("proprio", 0, self.length)

    @property
    def action(self) -> np.ndarray:
        """float32 (T, Da), what was asked for."""
        return self.read("action", 0, self.length)

    @property
    def action_applied(self) -> np.ndarray:
        """float32 (T, Da), what the robot took."""
        return self.read("action_applied", 0, self.length)

    @property
    def time(self) -> np.ndarray:
        """float64 (T,), seconds."""
        return self.read("time", 0, self.length)

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
            return self.read(name, steps, steps + 1)[0]
        if not steps:
            return np.empty((0, *self._spec.cameras[camera]), np.uint8)
        return self.read(name, min(steps), max(steps) + 1)[:: steps.step]

    def frames(self, camera: str) -> LazyFrames:
        """All frames of one camera, read when they are asked for. Raises UserError for an unknown camera."""
        if camera not in self._spec.cameras:
            raise unknown("camera", camera, self._spec.cameras)
        shape = (self.length, *self._spec.cameras[camera])
        return LazyFrames(shape, lambda start, stop: self.read(f"images/{camera}", start, stop))

    def digest(self) -> str:
        """sha256, in hex, of what the episode holds.

        Cheap: of the frames it takes only the size and the stored checksum of each chunk.
        """
        total = hashlib.sha256()
        sizes = self.sizes()
        for name in sorted(sizes, key=lambda name: name.split("/")):
            if _is_frame_chunk(name):
                # The last codec puts the chunk's CRC-32C into its last four bytes.
                content = f"{sizes[name]} ".encode() + self._files.read(f"{self.id}/{name}", last=4)
            else:
                content = self.file(name)
            total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return total.hexdigest()

    def sizes(self) -> dict[str, int]:
        """Every file of the episode, e.g. `images/front/c.0.0.0.0` -> bytes."""
        return self._files.sizes(self.id)

    def file(self, name: str) -> bytes:
        """The content of one of the files of `sizes`, as it is."""
        with self._intact(name):
            return self._files.read(f"{self.id}/{name}")

    def node_type(self, name: str) -> str:
        """`array` or `group`, as the metadata of a folder of the episode says."""
        with self._intact(f"{name}/{MARKER}"):
            return str(json.loads(self.file(f"{name}/{MARKER}"))["node_type"])

    def array(self, name: str) -> zarr.Array:
        """One array, e.g. `images/front`, of which nothing but its type and shape has been read."""
        if name not in self._arrays:
            with self._intact(f"{name}/{MARKER}"):
                if not self._files.exists(f"{self.id}/{name}/{MARKER}"):
                    raise FileNotFoundError("it is missing")
                array = _zarr().open_array(self._files.zarr, path=f"{self.id}/{name}", mode="r")
                if 0 in array.chunks:
                    raise ValueError(f"its chunks are {array.chunks}")
                self._arrays[name] = array
        return self._arrays[name]

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Steps start to stop of one array."""
        with self._intact(name):
            array = self.array(name)
            self._check_chunks(name, array, start, stop)
            if name.startswith("images/") and isinstance(self._files, LocalFiles):
                from s2robot.data.frames import is_quick, read_frames  # here, as zarr is

                if is_quick(array):
                    return read_frames(
                        array, lambda key: self._files.read(f"{self.id}/{name}/{key}"), start, stop
                    )
            return np.asarray(array[start:stop])

    def _check_chunks(self, name: str, array: zarr.Array, start: int, stop: int) -> None:
        # Zarr reads a missing chunk as zeros, without a word.
        steps, *rest = array.chunks
        for chunk in range(start // steps, (stop - 1) // steps + 1):
            key = array.metadata.encode_chunk_key((chunk, *(0 for _ in rest)))
            if not self._files.exists(f"{self.id}/{name}/{key}"):
                raise FileNotFoundError(f"{key} is missing")

    @contextmanager
    def _intact(self, name: str) -> Iterator[None]:
        where = f"episode {self.id} of {self._files}"
        try:
            yield
        except (*_DAMAGE, *self._files.errors) as error:
            reason = getattr(error, "strerror", None) or str(error)
            reason = " ".join(reason.split()).partition(". ")[0]
            if isinstance(error, _DAMAGE) or getattr(error, "errno", None) in _BROKEN_FILE:
                raise Damaged(where, name, reason) from error
            raise Unreachable(f"{where}: {name} cannot be read: {reason}") from error


def copy_episode(source: EpisodeReader, folder: Path, attributes: Mapping[str, Any]) -> None:
    """Writes the files of an episode into an empty folder, without syncing, with these further attributes."""
    for name in source.sizes():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.file(name))
    root = json.loads(source.file(MARKER))
    root["attributes"] = sealed({**source.attributes, **attributes})
    (folder / MARKER).write_text(json.dumps(root, indent=2))


def _zarr() -> Any:
    """zarr, and our codec known to it. Imported where it is needed: it takes longer than listing a store."""
    import zarr

    import s2robot.data.jpeg  # noqa: F401

    return zarr


def _is_frame_chunk(name: str) -> bool:
    return name.startswith("images/") and not name.endswith(MARKER)
