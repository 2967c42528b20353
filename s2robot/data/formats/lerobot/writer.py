"""Demos as a LeRobotDataset, v2.1 or v3.0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.lerobot.features import APPLIED, TIME, camera_feature
from s2robot.data.formats.lerobot.files import FilmFiles, Layout, TableFiles, pixel_format
from s2robot.data.formats.lerobot.parquet import arrow
from s2robot.data.formats.lerobot.reader import SIDECAR, read
from s2robot.data.formats.lerobot.statistics import Statistics
from s2robot.data.formats.transfer import Notes, Outgoing
from s2robot.data.frame_error import FrameError
from s2robot.data.reader import EpisodeReader
from s2robot.utils.atomic_io import write_atomic, write_json

_SERIES = {"proprio": "observation.state", "action": "action", "action_applied": APPLIED, "time": TIME}
_COUNTERS = {
    "timestamp": "float32",
    **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64"),
}
_ROWS = 128  # rows that are in memory, with their pictures
_COMPARED = 16  # frames of the first and last episode that are read back after an export


def write(outgoing: Outgoing, target: Path, layout: Layout, *, images: str, instruction: str) -> Notes:
    """Writes a dataset, then reads some frames back and compares them.

    Args:
        images: `image` (PNG) or `video`.
        instruction: text for episodes that have no attribute `instruction`.
    """
    fps = max(1, round(outgoing.spec.rate))
    cameras = {camera_feature(camera): camera for camera in outgoing.spec.cameras}
    written = _Written(target, layout, _features(outgoing.spec, images, fps), cameras, fps)
    with ExitStack() as stack:
        tables = stack.enter_context(TableFiles(target, layout, written.features))
        films = {
            name: stack.enter_context(FilmFiles(target, layout, name, fps))
            for name, about in written.features.items()
            if about["dtype"] == "video"
        }
        for episode in outgoing.episodes:
            written.add(episode, str(episode.attributes.get("instruction", instruction)), tables, films)
    written.write_meta()
    write_json(target / SIDECAR, outgoing.sidecar().to_dict())
    return _notes(outgoing, target, images, fps)


@dataclass
class _Written:
    """A dataset that is being written.

    Attributes:
        cameras: feature -> camera.
        episodes: one dict an episode, as `Metadata.episodes`.
        tasks: text -> index.
        statistics: of all episodes; `per_episode` of each.
    """

    root: Path
    layout: Layout
    features: dict[str, dict[str, Any]]
    cameras: dict[str, str]
    fps: int
    episodes: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    per_episode: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0

    def add(
        self, episode: EpisodeReader, task: str, tables: TableFiles, films: Mapping[str, FilmFiles]
    ) -> None:
        """Writes an episode."""
        statistics = Statistics()
        numbers = self._numbers(episode, self.tasks.setdefault(task, len(self.tasks)))
        for name, values in numbers.items():
            statistics.add_numbers(name, values)
        pictures = {feature: episode.frames(camera) for feature, camera in self.cameras.items()}
        row: dict[str, Any] = {"episode_index": len(self.episodes), "tasks": [task], "length": episode.length}
        for name, film in films.items():
            for block in film.add(pictures.pop(name)):
                statistics.add_frames(name, block)
            row |= {f"videos/{name}/{k}": v for k, v in film.end_episode(episode.length).items()}
        for start in range(0, episode.length, _ROWS):
            steps = slice(start, min(start + _ROWS, episode.length))
            frames = {name: stream[steps] for name, stream in pictures.items()}
            for name, block in frames.items():
                statistics.add_frames(name, block)
            place = tables.add(frames | {name: values[steps] for name, values in numbers.items()})
            row |= {f"data/{name}": value for name, value in place.items()}
        tables.end_episode()
        row |= {"dataset_from_index": self.steps, "dataset_to_index": self.steps + episode.length}
        self.steps += episode.length
        self.episodes.append(row)
        self.per_episode.append(statistics.to_dict())
        self.statistics.add(statistics)

    def _numbers(self, episode: EpisodeReader, task: int) -> dict[str, np.ndarray]:
        """Feature -> array (T, D)."""
        steps = np.arange(episode.length)
        found = {name: getattr(episode, ours).reshape(len(steps), -1) for ours, name in _SERIES.items()}
        counters = {
            "timestamp": steps / self.fps,
            "frame_index": steps,
            "episode_index": np.full(len(steps), len(self.episodes)),
            "index": self.steps + steps,
            "task_index": np.full(len(steps), task),
        }
        return found | {name: counters[name].astype(dtype)[:, None] for name, dtype in _COUNTERS.items()}

    def write_meta(self) -> None:
        """Writes `meta/`, but for the sidecar."""
        meta = self.root / "meta"
        write_json(meta / "info.json", self._info())
        if self.layout.per_episode:
            plain = [{n: row[n] for n in ("episode_index", "tasks", "length")} for row in self.episodes]
            _write_lines(meta / "episodes.jsonl", plain)
            _write_lines(meta / "tasks.jsonl", [{"task_index": i, "task": t} for t, i in self.tasks.items()])
            stats = [{"episode_index": i, "stats": s} for i, s in enumerate(self.per_episode)]
            _write_lines(meta / "episodes_stats.jsonl", stats)
        else:
            write_json(meta / "stats.json", self.statistics.to_dict())
            _write_tasks(meta / "tasks.parquet", self.tasks)
            _write_episodes(
                meta / "episodes" / "chunk-000" / "file-000.parquet", self.episodes, self.per_episode
            )

    def _info(self) -> dict[str, Any]:
        films = sum(about["dtype"] == "video" for about in self.features.values())
        count, layout = len(self.episodes), self.layout
        common = {
            "codebase_version": layout.version,
            "robot_type": None,
            "total_episodes": count,
            "total_frames": self.steps,
            "total_tasks": len(self.tasks),
            "chunks_size": layout.chunk_files,
            "fps": self.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": layout.data_path,
            "video_path": layout.video_path if films else None,
            "features": self.features,
        }
        if layout.per_episode:
            return {**common, "total_videos": films * count, "total_chunks": -(-count // layout.chunk_files)}
        megabytes = {"data_files_size_in_mb": layout.data_bytes, "video_files_size_in_mb": layout.video_bytes}
        return common | {name: size // 1_000_000 for name, size in megabytes.items()}


def _features(spec: RobotSpec, images: str, fps: int) -> dict[str, dict[str, Any]]:
    cameras: dict[str, dict[str, Any]] = {}
    for name, shape in spec.cameras.items():
        feature = camera_feature(name)
        if feature in cameras:
            raise UserError(f"two cameras would be called {feature}: export one of them, by cameras=[...]")
        names = ["height", "width", "channels"]
        cameras[feature] = {"dtype": images, "shape": list(shape), "names": names}
        if images == "video":
            cameras[feature]["info"] = {
                "video.height": shape[0],
                "video.width": shape[1],
                "video.codec": "h264",
                "video.pix_fmt": pixel_format(shape[:2]),
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            }
    labels = {"proprio": spec.proprio, "action": spec.action, "action_applied": spec.action, "time": ("s",)}
    series = {
        name: {
            "dtype": "float64" if ours == "time" else "float32",
            "shape": [len(labels[ours])],
            "names": list(labels[ours]),
        }
        for ours, name in _SERIES.items()
    }
    counters = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in _COUNTERS.items()}
    return cameras | series | counters


def _write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    write_atomic(path, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


def _write_tasks(path: Path, tasks: Mapping[str, int]) -> None:
    """As pandas writes a data frame whose index is the text: lerobot looks tasks up by it."""
    pa = arrow()
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, kind, dtype in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": described,
        "pandas_version": "2.0.0",
    }
    schema = pa.schema(
        {"task_index": pa.int64(), "task": pa.string()}, metadata={"pandas": json.dumps(pandas)}
    )
    columns = [pa.array(list(tasks.values()), pa.int64()), pa.array(list(tasks), pa.string())]
    arrow().parquet.write_table(pa.Table.from_arrays(columns, schema=schema), path)


def _write_episodes(path: Path, episodes: list[dict[str, Any]], statistics: list[dict[str, Any]]) -> None:
    rows = []
    for row, of_features in zip(episodes, statistics, strict=True):
        flat = {f"stats/{f}/{n}": value for f, stats in of_features.items() for n, value in stats.items()}
        rows.append({**row, **flat, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
    path.parent.mkdir(parents=True)
    arrow().parquet.write_table(arrow().Table.from_pylist(rows), path)


def _notes(outgoing: Outgoing, target: Path, images: str, fps: int) -> Notes:
    notes = Notes(lost=outgoing.masked_steps())
    notes.kept.append(f"action_applied and time as {APPLIED} and {TIME}")
    notes.kept.append(f"rate, ids and attributes in {SIDECAR}")
    if fps != outgoing.spec.rate:
        notes.lost.append(f"rate: lerobot counts whole frames, {fps} a second, not {outgoing.spec.rate}")
    for camera, error in _compare(outgoing, target).items():
        lossless = error.psnr_db is None
        (notes.kept if lossless else notes.lost).append(f"frames of {camera} as {images}, {error}")
    return notes


def _compare(outgoing: Outgoing, target: Path) -> dict[str, FrameError]:
    """Camera -> how far the first frames of the first and last episode are from what they were."""
    stored = list(read(target, proprio=None, action=None).episodes)
    chosen = sorted({0, len(stored) - 1})
    loaded = [(outgoing.episodes[i], stored[i].load()) for i in chosen]
    errors = {}
    for camera in outgoing.spec.cameras:
        pairs = [(a.images(camera, slice(0, _COMPARED)), b.images[camera][:_COMPARED]) for a, b in loaded]
        original, back = (np.concatenate(side) for side in zip(*pairs, strict=True))
        errors[camera] = FrameError.between(original, back)
    return errors
