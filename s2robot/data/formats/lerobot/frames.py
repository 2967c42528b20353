"""Frames of one camera and episode, decoded while they are read: PNG or JPEG in Parquet, and videos."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from s2robot.core.errors import UserError
from s2robot.data.formats.lerobot.metadata import Film
from s2robot.data.formats.lerobot.parquet import arrow, reading
from s2robot.data.streams import LazyFrames

_ROWS = 16  # pictures that are in memory, still encoded
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")

Decode = Callable[[int], Iterator[np.ndarray]]
"""From a step on, the frames, uint8 (H, W, 3)."""


def image_frames(
    file: Path, root: Path, feature: str, rows: slice, shape: tuple[int, int, int]
) -> LazyFrames:
    """Pictures in a column of a Parquet file.

    Args:
        rows: those of the episode.
        shape: (H, W, 3) of a frame; reading raises UserError for other ones.
    """

    def decode(step: int) -> Iterator[np.ndarray]:
        with reading(file, root):
            for cell in _cells(file, feature, rows.start + step, rows.stop):
                yield _picture(cell, root, f"{file.relative_to(root)}: {feature}")

    return LazyFrames((rows.stop - rows.start, *shape), _Forward(decode).read)


def video_frames(
    film: Film, root: Path, times: np.ndarray, fps: float, shape: tuple[int, int, int]
) -> LazyFrames:
    """Frames of a video, of each time the nearest.

    Args:
        times: float64 (T,) s since the film's start.
        shape: (H, W, 3) of a frame. Reading raises UserError for other ones, and where no frame lies within
            half a step of its time: the video is too short.
    """
    where = str(film.path.relative_to(root))
    _check_span(film, where, times, fps)
    decode = _nearest(film.path, where, film.start + times, 0.51 / fps)
    return LazyFrames((len(times), *shape), _Forward(decode).read)


class _Forward:
    """Frames by steps; going on where the last read ended decodes nothing twice."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._frames: Iterator[np.ndarray] = iter(())
        self._step: int | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        if start != self._step:
            self._frames = self._decode(start)
        self._step = None  # after an error nothing is gone on with
        frames = list(islice(self._frames, stop - start))
        self._step = stop
        sizes = {frame.shape for frame in frames}
        if len(sizes) > 1:
            raise UserError(f"frames {start} to {stop - 1} differ in size: {sorted(sizes)}")
        return np.stack(frames)


def _cells(file: Path, feature: str, first: int, last: int) -> Iterator[Any]:
    """The cells of rows `first` to `last`, few at a time, from the row groups in which they lie."""
    parquet = arrow().parquet.ParquetFile(file)
    sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    ends = np.cumsum(sizes)
    groups = [i for i in range(len(sizes)) if ends[i] > first and ends[i] - sizes[i] < last]
    row = int(ends[groups[0]] - sizes[groups[0]])
    for batch in parquet.iter_batches(_ROWS, row_groups=groups, columns=[feature]):
        part = batch.column(batch.schema.get_field_index(feature))
        wanted = part[max(0, first - row) : max(0, last - row)]
        yield from wanted.to_pylist()
        row += len(part)
        if row >= last:
            return


def _picture(cell: Any, root: Path, where: str) -> np.ndarray:
    """The pixels of a cell: the file's content, or its path below the dataset."""
    if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
        raise UserError(f"{where} holds no picture at one of its steps")
    path = root / (cell.get("path") or "")
    if not cell.get("bytes") and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{where} names a picture outside of the dataset: {cell['path']}")
    try:
        with Image.open(io.BytesIO(cell["bytes"]) if cell.get("bytes") else path) as picture:
            if picture.mode not in _MODES:
                raise UserError(f"{where}: a picture of mode {picture.mode}, expected 8-bit colours or grey")
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{where}: a picture cannot be decoded: {error}") from error


def _check_span(film: Film, where: str, times: np.ndarray, fps: float) -> None:
    """The frames of the next episode must not pass for those that one lacks."""
    if not film.path.is_file():
        raise UserError(f"{where} is missing")
    if film.end is not None and film.end - film.start < times[-1] + 0.5 / fps:
        raise UserError(
            f"{where}: {film.end - film.start:.3f} s are of it, its {len(times)} steps take "
            f"{times[-1] + 1 / fps:.3f} s"
        )


def _nearest(path: Path, where: str, times: np.ndarray, tolerance: float) -> Decode:
    def decode(step: int) -> Iterator[np.ndarray]:
        try:
            with av.open(str(path)) as container:
                yield from _decode(container, where, times, step, tolerance)
        except FFmpegError as error:
            raise UserError(f"cannot read {where}: {error.strerror}") from error

    return decode


def _decode(
    container: Any, where: str, times: np.ndarray, step: int, tolerance: float
) -> Iterator[np.ndarray]:
    if not container.streams.video:
        raise UserError(f"cannot read {where}: it has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    if times[step] > tolerance:
        container.seek(int(times[step] / stream.time_base), stream=stream, backward=True)
    decoded = ((float(f.pts * stream.time_base), f) for f in container.decode(stream) if f.pts is not None)
    held, ahead = next(decoded, None), next(decoded, None)
    for at in range(step, len(times)):
        while held and ahead and abs(ahead[0] - times[at]) <= abs(held[0] - times[at]):
            held, ahead = ahead, next(decoded, None)
        if held is None or abs(held[0] - times[at]) > tolerance:
            found = "it has no frames" if held is None else f"the nearest frame is at {held[0]:.3f} s"
            raise UserError(f"{where}: no frame at {times[at]:.3f} s (step {at}): {found}")
        yield held[1].to_ndarray(format="rgb24")
