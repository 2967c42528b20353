"""Lossless frames, encoded and decoded in threads, straight to their chunks and from them.

zarr does the same for any array, one chunk after another as far as can be measured. Frames are most of what
demos cost, so those in the codecs of this module are written and read here, and any Zarr v3 reads them too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc

from s2robot.data.streams import Frames, blocks
from s2robot.utils.provenance import usable_cores

if TYPE_CHECKING:
    import zarr

ROWS_FIRST = (1, 0, 2, 3)
"""The axes (steps, rows, columns, colours) of a chunk of frames as they lie on disk: a row as it was a step
ago is within the 64 kB in which lz4 searches for repetitions; a whole frame away it would not be."""

_LZ4 = {"cname": "lz4", "clevel": 9}
_local = threading.local()
_CODECS = ["transpose", "bytes", "blosc", "crc32c"]


def lossless() -> dict[str, Any]:
    """The codecs, as `zarr.Group.create_array` takes them."""
    from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec

    lz4: Any = {**_LZ4, "shuffle": "noshuffle", "typesize": 1}
    return {
        "filters": [TransposeCodec(order=ROWS_FIRST)],
        "compressors": [BloscCodec(**lz4), Crc32cCodec()],
    }


def is_quick(array: zarr.Array) -> bool:
    """Whether `read_frames` can read it: uint8, whole frames a chunk, in the codecs of `lossless`.

    zarr reads what else there is: JPEG, and older stores, whose frames are in zstd.
    """
    codecs = [codec.to_dict() for codec in _metadata(array).codecs]
    return (
        array.dtype == np.uint8
        and array.chunks[1:] == array.shape[1:]
        and [codec["name"] for codec in codecs] == _CODECS
        and codecs[0]["configuration"]["order"] == ROWS_FIRST
    )


def write_frames(array: zarr.Array, frames: Frames, write: Callable[[str, bytes], object]) -> None:
    """Frames, uint8 (T, H, W, 3), as `array[:] = frames` writes them into a new array of `lossless` codecs.

    They are read in this thread, a block after the other, and encoded in others.

    Args:
        write: puts a chunk's content into its file, by its key.

    Raises what `write` and reading the frames raise.
    """
    steps = array.chunks[0]

    def encode(chunk: int, part: np.ndarray) -> None:
        stored = _buffer(prod(array.chunks)).reshape([array.chunks[axis] for axis in ROWS_FIRST])
        whole = stored.transpose(ROWS_FIRST)
        whole[: len(part)], whole[len(part) :] = part, 0
        data = Blosc(**_LZ4, shuffle=Blosc.NOSHUFFLE).encode(stored)
        write(_key(array, chunk), data + google_crc32c.value(data).to_bytes(4, "little"))

    pending: list[Future[None]] = []
    try:
        for start, block in blocks(frames, steps):
            _results(pending)  # two blocks are in memory: one is read while the other is encoded
            pending = [
                _threads(os.getpid()).submit(encode, (start + i) // steps, block[i : i + steps])
                for i in range(0, len(block), steps)
            ]
    finally:
        wait(pending)
    _results(pending)


def _results(pending: list[Future[None]]) -> None:
    for future in pending:
        future.result()


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
        content = _decode(read(_key(array, chunk)), prod(stored))
        frames = content.reshape(stored).transpose(ROWS_FIRST)  # which undoes itself
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
    """Of this thread, to be used again: fresh memory costs more than decoding into it."""
    if len(getattr(_local, "buffer", ())) != size:
        _local.buffer = np.empty(size, np.uint8)
    return _local.buffer


def _key(array: zarr.Array, chunk: int) -> str:
    return _metadata(array).encode_chunk_key((chunk, 0, 0, 0))


def _metadata(array: zarr.Array) -> Any:
    return array.metadata  # of Zarr v3, as every array of a store is
