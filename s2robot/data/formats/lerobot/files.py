"""Parquet files and videos that take one episode after the other, and begin a new file when one is full."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from s2robot.data.formats.lerobot.parquet import arrow
from s2robot.data.streams import Frames, blocks

# For libx264: hardly to be told from the original, and every second frame can be decoded for itself.
_QUALITY = {"crf": "16", "g": "2", "bf": "0", "mbtree": "0"}


@dataclass(frozen=True)
class Layout:
    """What the versions do differently.

    Attributes:
        version: as meta/info.json names it.
        data_path, video_path: templates of the files' names.
        per_episode: whether each episode has files of its own.
        data_bytes, video_bytes: from which size on a file is full.
    """

    version: str
    data_path: str
    video_path: str
    per_episode: bool
    data_bytes: int = 100_000_000
    video_bytes: int = 200_000_000
    chunk_files: int = 1000

    def place(self, number: int) -> dict[str, int]:
        """What the templates ask for, of the file of this number."""
        chunk, file = divmod(number, self.chunk_files)
        if self.per_episode:
            return {"episode_chunk": chunk, "episode_index": number}
        return {"chunk_index": chunk, "file_index": file}

    def is_full(self, path: Path, limit: int) -> bool:
        """Whether the next episode begins a new file."""
        return self.per_episode or path.stat().st_size >= limit


V21 = Layout(
    "v2.1",
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    per_episode=True,
)
V30 = Layout(
    "v3.0",
    "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    per_episode=False,
)


class TableFiles(AbstractContextManager["TableFiles"]):
    """The Parquet files of a dataset.

    Args:
        features: as meta/info.json lists them; those in videos are no columns.
    """

    def __init__(self, root: Path, layout: Layout, features: Mapping[str, Mapping[str, Any]]) -> None:
        self._root, self._layout = root, layout
        self._features = {name: about for name, about in features.items() if about["dtype"] != "video"}
        self._schema = _schema(self._features)
        self._writer: Any = None
        self._number = 0

    def __exit__(self, *raised: object) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def path(self) -> Path:
        """Of the file that the next rows go into."""
        return self._root / self._layout.data_path.format(**self._layout.place(self._number))

    def add(self, rows: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Appends rows of an episode, feature -> array (n, ...); returns where, as `Layout.place`."""
        if self._writer is None:
            self.path().parent.mkdir(parents=True, exist_ok=True)
            self._writer = arrow().parquet.ParquetWriter(self.path(), self._schema, compression="snappy")
        columns = [_column(self._schema.field(name).type, rows[name]) for name in self._features]
        self._writer.write_table(arrow().Table.from_arrays(columns, schema=self._schema))
        return self._layout.place(self._number)

    def end_episode(self) -> None:
        """Closes the file if it is full."""
        if self._layout.is_full(self.path(), self._layout.data_bytes):
            self.__exit__()
            self._number += 1


class FilmFiles(AbstractContextManager["FilmFiles"]):
    """The videos (H.264) of one camera."""

    def __init__(self, root: Path, layout: Layout, feature: str, fps: int) -> None:
        self._root, self._layout, self._feature, self._fps = root, layout, feature, fps
        self._container: Any = None
        self._stream: Any = None
        self._number = self._frames = 0

    def __exit__(self, *raised: object) -> None:
        if self._container is not None:
            if raised == () or raised[0] is None:
                self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None

    def add(self, frames: Frames) -> Iterator[np.ndarray]:
        """Appends the frames of an episode, and gives them block by block as they are written."""
        container = self._container or self._open(frames.shape)
        for _, block in blocks(frames):
            for frame in block:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, self._frames = self._frames, self._frames + 1
                container.mux(self._stream.encode(picture))
            yield block

    def end_episode(self, steps: int) -> dict[str, float | int]:
        """Closes the file if it is full; returns where the last episode, of so many steps, lies."""
        start = (self._frames - steps) / self._fps
        place = self._layout.place(self._number)
        found = {**place, "from_timestamp": start, "to_timestamp": start + steps / self._fps}
        if self._layout.is_full(self._path(), self._layout.video_bytes):
            self.__exit__()
            self._number, self._frames = self._number + 1, 0
        return found

    def _path(self) -> Path:
        place = self._layout.place(self._number)
        return self._root / self._layout.video_path.format(**place, video_key=self._feature)

    def _open(self, shape: tuple[int, ...]) -> Any:
        self._path().parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._path()), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", self._fps, options=_QUALITY)
        self._stream.height, self._stream.width = shape[1:3]
        self._stream.pix_fmt = pixel_format(shape[1:3])
        self._stream.codec_context.thread_count = 1  # the same bytes on any number of cores
        return self._container


def pixel_format(height_width: tuple[int, ...]) -> str:
    """What FFmpeg calls the pixels of a video; halved colours need even sides."""
    return "yuv420p" if not any(side % 2 for side in height_width) else "yuv444p"


def png(frame: np.ndarray) -> bytes:
    """A frame, uint8 (H, W, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _schema(features: Mapping[str, Mapping[str, Any]]) -> Any:
    """With the metadata by which Hugging Face's datasets knows pictures from dicts."""
    pa = arrow()
    types, described = {}, {}
    for name, about in features.items():
        value = {"dtype": about["dtype"], "_type": "Value"}
        size = about["shape"][0]
        if about["dtype"] == "image":
            types[name] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            described[name] = {"_type": "Image"}
        elif about["shape"] == [1]:
            types[name], described[name] = pa.type_for_alias(about["dtype"]), value
        else:
            types[name] = pa.list_(pa.type_for_alias(about["dtype"]), size)
            described[name] = {"feature": value, "length": size, "_type": "Sequence"}
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return pa.schema(types, metadata=metadata)


def _column(kind: Any, values: np.ndarray) -> Any:
    """Frames or numbers, (n, ...), as a column."""
    pa = arrow()
    if pa.types.is_struct(kind):
        return pa.array([{"bytes": png(frame), "path": None} for frame in values], kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind) if pa.types.is_fixed_size_list(kind) else flat
