"""The episodes of a LeRobotDataset: what is taken of it, and how an episode is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.columns import Columns
from s2robot.data.formats.lerobot.features import (
    APPLIED,
    BOOKKEEPING,
    TIME,
    camera_shape,
    conversion,
    describe,
)
from s2robot.data.formats.lerobot.frames import image_frames, video_frames
from s2robot.data.formats.lerobot.metadata import Metadata
from s2robot.data.formats.lerobot.parquet import DataFile
from s2robot.data.formats.transfer import EpisodeMeta, IncomingEpisode, Notes, nominal_time
from s2robot.data.store import Episode
from s2robot.data.streams import LazyFrames

_SUCCESS = ("next.success", "next.reward")
_SYNC = 1e-4  # s by which lerobot lets times differ from whole steps


@dataclass(frozen=True)
class Dataset:
    """A dataset and what is taken of it.

    Attributes:
        proprio, action: columns that make them up.
        cameras: camera -> feature.
        takes_applied: whether it says which actions the robot took.
    """

    metadata: Metadata
    proprio: list[Columns]
    action: list[Columns]
    cameras: dict[str, str]
    takes_applied: bool

    @cached_property
    def notes(self) -> Notes:
        return _losses(self)

    @cached_property
    def columns(self) -> list[str]:
        """The columns of numbers that an import reads."""
        further = [APPLIED] if self.takes_applied else []
        further += [name for name in (TIME, "timestamp", *_SUCCESS) if name in self.metadata.features]
        if "task_index" in self.metadata.features:
            further.append("task_index")
        taken = [part.name for part in (*self.proprio, *self.action)]
        return list(dict.fromkeys(["episode_index", *taken, *further]))

    def spec(self) -> RobotSpec:
        features = self.metadata.features
        return RobotSpec(
            cameras={camera: camera_shape(features[name]) for camera, name in self.cameras.items()},
            proprio=_labels(self.proprio),
            action=_labels(self.action),
            action_space="unknown",
            rate=float(self.metadata.info["fps"]),
        )

    def episodes(self, spec: RobotSpec, metas: list[EpisodeMeta]) -> Iterator[IncomingEpisode]:
        open_file = lru_cache(maxsize=1)(self._open)  # v3: many episodes lie in one file
        for row, (episode_id, attributes) in zip(self.metadata.episodes, metas, strict=True):
            load = partial(self._load, row, open_file, spec, attributes if episode_id else None)
            yield IncomingEpisode(episode_id or f"episode {row['episode_index']}", load, episode_id)

    def _open(self, path: Path) -> DataFile:
        return DataFile(path, self.metadata.root, self.columns)

    def _load(
        self,
        row: Mapping[str, Any],
        open_file: Callable[[Path], DataFile],
        spec: RobotSpec,
        attributes: Mapping[str, Any] | None,
    ) -> Episode:
        file = open_file(self.metadata.data_path(row))
        rows = file.rows(row["episode_index"])
        steps = rows.stop - rows.start
        if row.get("length") not in (None, steps):
            raise UserError(f"meta/episodes says {row['length']} steps, its file holds {steps}")
        action = self._series("action", self.action, file, rows)
        times = (
            _times(file, rows, spec.rate) if "timestamp" in self.columns else nominal_time(steps, spec.rate)
        )
        applied = file.numbers(APPLIED, rows).astype(np.float32) if self.takes_applied else action.copy()
        return Episode(
            images={camera: self._frames(row, camera, file.path, rows, times) for camera in spec.cameras},
            proprio=self._series("proprio", self.proprio, file, rows),
            action=action,
            action_applied=applied,
            time=file.numbers(TIME, rows)[:, 0].astype(np.float64) if TIME in self.columns else times,
            attributes=dict(self._told(row, file, rows) if attributes is None else attributes),
        )

    def _series(self, name: str, parts: list[Columns], file: DataFile, rows: slice) -> np.ndarray:
        """float32 (T, D)."""
        values = np.concatenate([part.take(file.numbers(part.name, rows)) for part in parts], axis=1)
        single = values.astype(np.float32)
        if not np.array_equal(single, values, equal_nan=True):
            self.notes.lose(f"{name}: {values.dtype} rounded to float32")
        return single

    def _frames(
        self, row: Mapping[str, Any], camera: str, file: Path, rows: slice, times: np.ndarray
    ) -> LazyFrames:
        feature, root = self.cameras[camera], self.metadata.root
        about = self.metadata.features[feature]
        if about["dtype"] == "image":
            return image_frames(file, root, feature, rows, camera_shape(about))
        film = self.metadata.film(row, feature)
        return video_frames(film, root, times, float(self.metadata.info["fps"]), camera_shape(about))

    def _told(self, row: Mapping[str, Any], file: DataFile, rows: slice) -> dict[str, Any]:
        """The instruction and, where the dataset says so, the success."""
        tasks = row.get("tasks")
        if tasks is None and "task_index" in self.columns:
            indices = np.unique(file.numbers("task_index", rows))
            tasks = [self.metadata.tasks.get(int(index), "") for index in indices]
        told: dict[str, Any] = {"instruction": ", ".join(map(str, tasks or []))}
        success = _success({name: file.numbers(name, rows) for name in _SUCCESS if name in self.columns})
        return told if success is None else {**told, "success": success}


def _labels(parts: list[Columns]) -> tuple[str, ...]:
    """Where two features name their entries alike, the feature's name stands before each."""
    chosen = [(part.name, part.array.labels[i]) for part in parts for i in part.indices]
    short = tuple(label for _, label in chosen)
    return short if len(set(short)) == len(short) else tuple(f"{name} {label}" for name, label in chosen)


def _times(file: DataFile, rows: slice, rate: float) -> np.ndarray:
    """float64 (T,) s: whole steps where the file's own times are that, but for lerobot's tolerance."""
    times = file.numbers("timestamp", rows)[:, 0].astype(np.float64)
    nominal = nominal_time(len(times), rate)
    return nominal if np.all(np.abs(times - nominal) < _SYNC) else times


def _success(numbers: Mapping[str, np.ndarray]) -> bool | None:
    """None, unknown, but where a dataset says so, or rewards with a 1 where everything else is a 0."""
    if (told := numbers.get("next.success")) is not None:
        return bool(told.any())
    if (rewards := numbers.get("next.reward")) is not None and (rewards == 1).any():
        return True if np.isin(rewards, (0, 1)).all() else None
    return None


def _losses(dataset: Dataset) -> Notes:
    features, notes = dataset.metadata.features, Notes()
    held = {*dataset.cameras.values(), *dataset.columns, *BOOKKEEPING}
    notes.lost += [describe(name, about) for name, about in features.items() if name not in held]
    for part in (*dataset.proprio, *dataset.action):
        if len(part.indices) < part.array.shape[1]:
            notes.lose(f"entries of {part.name} that are not asked for")
    for camera, feature in dataset.cameras.items():
        if change := conversion(features[feature]):
            notes.lost.append(f"frames of {camera}: {change}")
    if TIME not in features:
        notes.lost.append("measured times: the dataset has none, those here are step / rate")
    if not dataset.takes_applied:
        notes.lost.append("action_applied: the dataset does not say, taken to be the action")
    if any(features[name]["dtype"] == "video" for name in dataset.cameras.values()):
        notes.lost.append("frames: what the video's codec had lost already")
    return notes
