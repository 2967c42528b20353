"""LeRobotDatasets as the format is published, written without s2robot: v2.1 and v3.0, pictures or videos."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
SIZE = (32, 48)
TASKS = ("lift the cube", "push the cube")
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass
class Recording:
    """What a dataset holds. Its features may be altered before `write`.

    Attributes:
        features: as meta/info.json lists them.
        episodes: of each, feature -> values, (T, ...).
    """

    features: dict[str, dict[str, Any]]
    episodes: list[dict[str, np.ndarray]] = field(default_factory=list)

    def write(self, root: Path, version: str) -> Path:
        """Writes the dataset and returns its folder."""
        first, rows = 0, []
        tables = [self._table(n, first) for n in range(len(self.episodes))]
        for n, episode in enumerate(self.episodes):
            steps = len(next(iter(episode.values())))
            rows.append({"episode_index": n, "tasks": [TASKS[n % 2]], "length": steps})
            rows[-1] |= {"dataset_from_index": first, "dataset_to_index": first + steps}
            first += steps
        films = [name for name, about in self.features.items() if about["dtype"] == "video"]
        if version == "v3.0":
            self._write_v3(root, tables, rows, films)
        else:
            self._write_v21(root, tables, rows, films)
        return root

    def _write_v3(
        self, root: Path, tables: list[pa.Table], rows: list[dict[str, Any]], films: list[str]
    ) -> None:
        for name in films:
            frames = np.concatenate([episode[name] for episode in self.episodes])
            write_film(root / f"videos/{name}/chunk-000/file-000.mp4", frames)
            for row in rows:
                row |= {f"videos/{name}/chunk_index": 0, f"videos/{name}/file_index": 0}
                row[f"videos/{name}/from_timestamp"] = row["dataset_from_index"] / FPS
                row[f"videos/{name}/to_timestamp"] = row["dataset_to_index"] / FPS
        for row in rows:
            row |= {"data/chunk_index": 0, "data/file_index": 0, "stats/action/min": [0.0]}
        write_table(root / "data/chunk-000/file-000.parquet", pa.concat_tables(tables))
        write_table(root / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
        tasks = [{"task_index": i, "__index_level_0__": text} for i, text in enumerate(TASKS)]
        write_table(root / "meta/tasks.parquet", pa.Table.from_pylist(tasks))
        self._write_info(
            root,
            "v3.0",
            "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        )

    def _write_v21(
        self, root: Path, tables: list[pa.Table], rows: list[dict[str, Any]], films: list[str]
    ) -> None:
        for n, table in enumerate(tables):
            write_table(root / f"data/chunk-000/episode_{n:06d}.parquet", table)
            for name in films:
                write_film(root / f"videos/chunk-000/{name}/episode_{n:06d}.mp4", self.episodes[n][name])
        write_lines(root / "meta/episodes.jsonl", rows)
        write_lines(root / "meta/tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(TASKS)])
        self._write_info(
            root,
            "v2.1",
            "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        )

    def _write_info(self, root: Path, version: str, data: str, video: str) -> None:
        counters = {n: {"dtype": "int64", "shape": [1], "names": None} for n in COUNTERS}
        info = {"codebase_version": version, "robot_type": "so101", "fps": FPS, "chunks_size": 1000}
        info |= {"data_path": data, "video_path": video, "features": self.features | counters}
        (root / "meta" / "info.json").write_text(json.dumps(info))

    def _table(self, n: int, first: int) -> pa.Table:
        episode = self.episodes[n]
        steps = np.arange(len(next(iter(episode.values()))))
        columns: dict[str, Any] = {
            name: column(self.features[name]["dtype"], values)
            for name, values in episode.items()
            if self.features[name]["dtype"] != "video"
        }
        columns["timestamp"] = pa.array((steps / FPS).astype(np.float32))
        counters = {"frame_index": steps, "episode_index": steps * 0 + n, "index": steps + first}
        return pa.table(columns | counters | {"task_index": steps * 0 + n % 2})


def recording(frames: str = "image", lengths: tuple[int, ...] = (6, 9, 4)) -> Recording:
    """Two cameras, a state of six, an action of three, successes; `frames`: the dtype of the camera `top`."""
    rng = np.random.default_rng(0)
    names = [f"joint{i}.pos" for i in range(6)]
    shape = {"shape": [*SIZE, 3], "names": ["height", "width", "channels"]}
    found = Recording(
        {
            "observation.images.top": {"dtype": frames, **shape},
            "observation.images.wrist.left": {"dtype": "image", **shape},
            "observation.state": {"dtype": "float32", "shape": [6], "names": {"motors": names}},
            "observation.effort": {"dtype": "float64", "shape": [2], "names": None},
            "action": {"dtype": "float32", "shape": [3], "names": ["dx", "dy", "gripper"]},
            "next.success": {"dtype": "bool", "shape": [1], "names": None},
        }
    )
    for n, steps in enumerate(lengths):
        found.episodes.append(
            {
                "observation.images.top": np.stack([coarse(n, step) for step in range(steps)]),
                "observation.images.wrist.left": rng.integers(0, 256, (steps, *SIZE, 3), dtype=np.uint8),
                "observation.state": rng.standard_normal((steps, 6), dtype=np.float32),
                "observation.effort": rng.standard_normal((steps, 2)),
                "action": rng.standard_normal((steps, 3), dtype=np.float32),
                "next.success": np.arange(steps) == (steps - 1 if n != 1 else -1),
            }
        )
    return found


def coarse(episode: int, step: int) -> np.ndarray:
    """A frame of a few large fields that a video codec keeps, other ones at each step."""
    fields = np.random.default_rng([episode, step]).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    return np.kron(fields, np.ones((SIZE[0] // 2, SIZE[1] // 3, 1), np.uint8))


def column(dtype: str, values: np.ndarray) -> pa.Array:
    if dtype == "image":
        return pa.array([{"bytes": png(frame), "path": None} for frame in values])
    return pa.array(values.tolist(), pa.list_(pa.from_numpy_dtype(values.dtype)) if values.ndim > 1 else None)


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def write_film(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"crf": "5", "g": "2"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
