"""Frames of a window, decoded in threads straight from their chunks.

zarr decodes any array, one chunk after another as far as can be measured; a window of frames is most of what
reading demos costs, so frames in the codecs that the store writes are read here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc

from s2robot.data.episode import ROWS_FIRST
from s2robot.provenance import usable_cores

if TYPE_CHECKING:
    import zarr

_local = threading.local()
_CODECS = ["transpose", "bytes", "blosc", "crc32c"]


def is_quick(array: zarr.Array) -> bool:
    """Whether `read_frames` can read it: uint8, whole frames a chunk, in the codecs of lossless frames.

    zarr reads what else there is: JPEG, and older stores, whose frames are in zstd.
    """
    codecs = [codec.to_dict() for codec in _metadata(array).codecs]
    return (
        array.dtype == np.uint8
        and array.chunks[1:] == array.shape[1:]
        and [codec["name"] for codec in codecs] == _CODECS
        and codecs[0]["configuration"]["order"] == ROWS_FIRST
    )


def read_frames(array: zarr.Array, read: Callable[[str], bytes], start: int, stop: int) -> np.ndarray:
    """Frames start to stop, uint8 (n, H, W, 3), as `array[start:stop]` gives them.

    Args:
        read: the content of a chunk's file, by its key.

    Raises:
        ValueError, RuntimeError: a chunk that is not what was written. What `read` raises.
    """
    steps, *frame = array.chunks
    out = np.empty((stop - start, *frame), np.uint8)
    stored = [array.chunks[axis] for axis in ROWS_FIRST]

    def decode(chunk: int) -> None:
        key = _metadata(array).encode_chunk_key((chunk, *(0 for _ in frame)))
        frames = _decode(read(key), prod(stored)).reshape(stored).transpose(ROWS_FIRST)  # it undoes itself
        first, last = max(start, chunk * steps), min(stop, (chunk + 1) * steps)
        out[first - start : last - start] = frames[first - chunk * steps : last - chunk * steps]

    chunks = range(start // steps, (stop - 1) // steps + 1)
    list(_threads(os.getpid()).map(decode, chunks))
    return out


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Those of a process: a fork keeps none of its parent's."""
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="frames")


def _decode(content: bytes, size: int) -> np.ndarray:
    data, stored = np.frombuffer(content, np.uint8)[:-4], content[-4:]
    if google_crc32c.value(data).to_bytes(4, "little") != stored:
        raise ValueError("Stored and computed checksum do not match")
    if int.from_bytes(data[4:8].tobytes(), "little") != size:  # in Blosc's header
        raise ValueError(f"Its chunk does not hold {size} bytes")
    Blosc().decode(data, out=(out := _buffer(size)))
    return out


def _buffer(size: int) -> np.ndarray:
    """Of this thread, to be used again: fresh memory costs twice what decoding into it does."""
    if len(getattr(_local, "buffer", ())) != size:
        _local.buffer = np.empty(size, np.uint8)
    return _local.buffer


def _metadata(array: zarr.Array) -> Any:
    return array.metadata  # of Zarr v3, as every array of a store is
