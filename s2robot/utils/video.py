"""Frames to H.264 and back, in memory."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError

from s2robot.core.errors import UserError

# For libx264: small, the cube still sharp. With mbtree the same frames give other bytes in each run.
_QUALITY = {"crf": "28", "mbtree": "0"}


def encode_mp4(frames: Iterable[np.ndarray], fps: float) -> bytes:
    """An MP4 file (H.264, yuv420p) that every browser plays and can start before it has all of it.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size. H.264 has even sides: an odd one repeats its edge.
        fps: frames a second (Hz).

    Raises:
        UserError: no frames, a frame of another size or type, or `fps` not positive.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"fps={fps}: expected a positive number of frames a second")
    buffer = io.BytesIO()
    # faststart moves the index to the front, for which FFmpeg reads back what it has written.
    with av.open(
        buffer,
        "w",
        format="mp4",
        container_options={"movflags": "faststart"},
        io_open=lambda url, flags, options: io.BytesIO(buffer.getvalue()),
    ) as container:
        _encode(container, frames, Fraction(fps).limit_denominator(1001))
    return buffer.getvalue()


def side_by_side(frames: Iterable[np.ndarray], side: int = 224) -> np.ndarray:
    """Frames (H, W, 3) of several cameras as one, each thinned out to less than twice `side` px in height.

    The lower ones of frames of different heights end in black.
    """
    small = [frame[:: (every := max(1, len(frame) // side)), ::every] for frame in frames]
    height = max(map(len, small))
    return np.concatenate([np.pad(f, ((0, height - len(f)), (0, 0), (0, 0))) for f in small], axis=1)


def read_mp4(source: bytes | str | Path, count: int | None = None) -> np.ndarray:
    """The frames of a video, a file's content or its path, as uint8 RGB (T, H, W, 3): all, or the first few.

    Raises UserError where there is no such file, or no video in it.
    """
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
            decoded = islice(container.decode(video=0), count)
            frames = [frame.to_ndarray(format="rgb24") for frame in decoded]
    except FFmpegError as error:
        raise UserError(f"cannot read a video from {name}: {error.strerror}") from error
    except IndexError as error:
        raise UserError(f"cannot read a video from {name}: it has no video stream") from error
    if not frames:
        raise UserError(f"cannot read a video from {name}: it has no frames")
    return np.stack(frames)


def _encode(container: OutputContainer, frames: Iterable[np.ndarray], rate: Fraction) -> None:
    stream, shape = None, None
    for index, frame in enumerate(frames):
        _check(frame, index, shape)
        if stream is None:
            shape = frame.shape
            stream = _add_stream(container, shape, rate)
        picture = av.VideoFrame.from_ndarray(_even(frame), format="rgb24")
        picture.pts = index
        container.mux(stream.encode(picture))
    if stream is None:
        raise UserError("no frames to encode: expected at least one")
    container.mux(stream.encode())


def _add_stream(container: OutputContainer, shape: tuple[int, ...], rate: Fraction) -> av.VideoStream:
    # Wheels of PyAV bring libx264; a system FFmpeg may know H.264 by another encoder.
    known = "libx264" in av.codecs_available
    stream = container.add_stream("libx264" if known else "h264", rate, options=_QUALITY if known else None)
    stream.height, stream.width = (size + size % 2 for size in shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1  # the same bytes on any number of cores
    return stream


def _check(frame: np.ndarray, index: int, shape: tuple[int, ...] | None) -> None:
    is_picture = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
    if frame.dtype != np.uint8 or not is_picture or frame.shape != (shape or frame.shape):
        raise UserError(
            f"frame {index} is {frame.dtype} {frame.shape}: expected uint8 {shape or '(H, W, 3)'}"
        )


def _even(frame: np.ndarray) -> np.ndarray:
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
