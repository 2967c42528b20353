"""Frames of an episode that need not be in memory: read part by part, or kept in a file as they come."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

import numpy as np

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors

_UINT8 = np.dtype(np.uint8)
_BLOCK_BYTES = 16_000_000
_MEMORY_BYTES = 128_000_000  # of one camera's frames, before they go into a file


class Frames(Protocol):
    """Frames of one camera, uint8 (T, H, W, 3): an array, or what reads them when they are asked for.

    Whoever writes them asks for slices in order, from the first step on, and may begin anew.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, steps: slice, /) -> Any: ...


@dataclass(frozen=True)
class LazyFrames:
    """Frames that are read when they are asked for.

    Attributes:
        shape: (T, H, W, 3).
        read: gives the frames from a step up to another, uint8 (n, H, W, 3).
    """

    shape: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]
    dtype: np.dtype[Any] = _UINT8

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, steps: slice, /) -> np.ndarray:
        """Raises UserError where fewer or other frames are there than the shape says."""
        start, stop, stride = steps.indices(len(self))
        frames = self.read(start, stop)
        if frames.shape != (stop - start, *self.shape[1:]) or frames.dtype != self.dtype:
            expected = (stop - start, *self.shape[1:])
            raise UserError(
                f"frames {start} to {stop - 1} are {frames.dtype} {frames.shape}, expected uint8 {expected}"
            )
        return frames[::stride]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frame by frame, (H, W, 3)."""
        return (self[step : step + 1][0] for step in range(len(self)))


def blocks(frames: Frames, multiple: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """The first step of each block and its frames, some 16 MB at a time.

    Args:
        multiple: of which the length of every block but the last is one.
    """
    frame_bytes = max(1, int(np.prod(frames.shape[1:])))
    size = max(1, _BLOCK_BYTES // (frame_bytes * multiple)) * multiple
    for start in range(0, len(frames), size):
        yield start, frames[start : start + size]


class FrameSpool:
    """Frames of one camera as they come: the first 128 MB stay in memory, what follows lies in a file.

    The file has no name, lies where temporary files do (TMPDIR), and is gone with this object.
    """

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._held: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, frame: np.ndarray) -> None:
        """Keeps a frame, uint8 (H, W, 3). Raises UserError where the disk refuses."""
        if (len(self._held) + 1) * frame.nbytes <= self._memory_bytes or not self._held:
            self._held.append(frame)
        else:
            with disk_errors("keep the frames of a running episode"):
                if self._file is None:
                    self._file = TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as this object)
                if self._file.write(np.ascontiguousarray(frame).data) < frame.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._count += 1

    def __getitem__(self, step: int) -> np.ndarray:
        return self._read(step, step + 1)[0]

    def frames(self) -> LazyFrames:
        """All that are here now."""
        return LazyFrames((self._count, *self._held[0].shape), self._read)

    def _read(self, start: int, stop: int) -> np.ndarray:
        held, first = self._held[start:stop], self._held[0]
        begin = max(start, len(self._held))
        if self._file is None or stop <= begin:
            return np.stack(held)
        size = (stop - begin) * first.nbytes
        with disk_errors("read the frames of a running episode"):
            data = os.pread(self._file.fileno(), size, (begin - len(self._held)) * first.nbytes)
        spilled = np.frombuffer(data, np.uint8).reshape(-1, *first.shape)
        return np.concatenate([np.stack(held), spilled]) if held else spilled
