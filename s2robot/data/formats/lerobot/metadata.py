"""What `meta/` of a LeRobotDataset says, the same for v2.0, v2.1 and v3.0.

meta/info.json                                   version, fps, features, templates of the files' names
meta/episodes.jsonl, meta/tasks.jsonl            v2: one line an episode or task
meta/episodes/chunk-000/file-000.parquet         v3: one row an episode
meta/tasks.parquet                               v3: one row a task
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.data.formats.lerobot.parquet import read_rows

_READABLE = ("v2.0", "v2.1", "v3.0")
_NEEDED = {"codebase_version": str, "fps": (int, float), "features": dict, "data_path": str}


@dataclass(frozen=True)
class Film:
    """Where the frames of one episode and camera lie.

    Attributes:
        start, end: s in the file; the end is None where nothing says.
    """

    path: Path
    start: float
    end: float | None


@dataclass(frozen=True)
class Metadata:
    """Of a dataset.

    Attributes:
        root: its folder.
        info: meta/info.json.
        episodes: one dict an episode: `episode_index`, `length`, `tasks` and, in v3, where its files lie.
        tasks: index -> text.
    """

    root: Path
    info: Mapping[str, Any]
    episodes: list[dict[str, Any]]
    tasks: dict[int, str]

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Name -> `dtype`, `shape`, `names` and others."""
        return self.info["features"]

    @cached_property
    def is_v3(self) -> bool:
        return self.info["codebase_version"] == "v3.0"

    def data_path(self, episode: Mapping[str, Any]) -> Path:
        """The Parquet file of an episode. Raises UserError where the metadata do not say."""
        return self._path("data_path", self._place(episode, "data"))

    def film(self, episode: Mapping[str, Any], feature: str) -> Film:
        """The video of an episode and feature. Raises UserError where the metadata do not say."""
        prefix = f"videos/{feature}"
        path = self._path("video_path", {**self._place(episode, prefix), "video_key": feature})
        if not self.is_v3:
            return Film(path, 0.0, None)
        start, end = (episode.get(f"{prefix}/{edge}_timestamp") for edge in ("from", "to"))
        return Film(path, float(start or 0.0), None if end is None else float(end))

    def _place(self, episode: Mapping[str, Any], prefix: str) -> dict[str, int]:
        """What the templates of the files' names ask for."""
        index = episode["episode_index"]
        if not self.is_v3:
            chunk = index // int(self.info.get("chunks_size") or 1000)
            return {"episode_chunk": chunk, "episode_index": index}
        names = ("chunk_index", "file_index")
        found = {name: episode.get(f"{prefix}/{name}") for name in names}
        for name, value in found.items():
            if not isinstance(value, int):
                raise UserError(f"meta/episodes has no {prefix}/{name} of it")
        return found  # type: ignore[return-value]

    def _path(self, template: str, place: Mapping[str, Any]) -> Path:
        text = self.info.get(template)
        try:
            path = Path(str(text).format(**place))
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"meta/info.json: {template} is {text!r}, expected a name with {place}"
            ) from error
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"meta/info.json: {template} is {text!r}, which leads out of the dataset")
        return self.root / path


def read_metadata(root: Path) -> Metadata:
    """Reads `meta/` of the dataset at `root`. Raises UserError where there is none that can be read."""
    path = root / "meta" / "info.json"
    if not path.is_file():
        raise UserError(f"{root} is no LeRobotDataset: it has no meta/info.json")
    info = _json(path.read_bytes(), "meta/info.json")
    _check_info(info)
    if info["codebase_version"] == "v3.0":
        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        episodes = [row for file in files for row in read_rows(file, root, leave_out="stats/")]
        tasks = [_task(row) for row in read_rows(root / "meta" / "tasks.parquet", root)]
    else:
        episodes = _lines(root, "meta/episodes.jsonl")
        tasks = [(line["task_index"], line["task"]) for line in _lines(root, "meta/tasks.jsonl", "task")]
    if not episodes:
        raise UserError(f"{root} has no episodes: {info['codebase_version']} lists them in meta/episodes")
    if not all(isinstance(episode.get("episode_index"), int) for episode in episodes):
        raise UserError(f"{root}: meta/episodes lacks episode_index")
    return Metadata(root, info, sorted(episodes, key=lambda e: e["episode_index"]), dict(tasks))


def _check_info(info: Any) -> None:
    for name, kind in _NEEDED.items():
        if not isinstance(info, dict) or not isinstance(info.get(name), kind):
            raise UserError(f"meta/info.json has no {name}: expected that of a LeRobotDataset")
    version = info["codebase_version"]
    if version not in _READABLE:
        raise UserError(
            f"a LeRobotDataset of version {version}: {', '.join(_READABLE)} can be read; lerobot has scripts "
            "that convert older ones"
        )
    if not info["fps"] > 0:
        raise UserError(f"meta/info.json: fps is {info['fps']}, expected a positive number")
    for name, feature in info["features"].items():
        if not (isinstance(feature, dict) and isinstance(feature.get("dtype"), str)):
            raise UserError(f"meta/info.json: feature {name} has no dtype")
        if not isinstance(feature.get("shape"), list) or not all(
            isinstance(n, int) for n in feature["shape"]
        ):
            raise UserError(f"meta/info.json: feature {name} has no shape")


def _task(row: Mapping[str, Any]) -> tuple[int, str]:
    """The text is the index of the data frame that was written, whose name varies."""
    texts = [value for name, value in row.items() if name != "task_index"]
    return int(row.get("task_index") or 0), str(texts[0] if texts else "")


def _lines(root: Path, name: str, needed: str = "episode_index") -> list[dict[str, Any]]:
    path = root / name
    if not path.is_file():
        raise UserError(f"{root} has no {name}")
    lines = [
        _json(line, f"{name}, line {n}")
        for n, line in enumerate(path.read_bytes().splitlines(), 1)
        if line.strip()
    ]
    for line in lines:
        if not isinstance(line, dict) or needed not in line:
            raise UserError(f"{root}: a line of {name} has no {needed}")
    return lines


def _json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is no JSON: {error}") from error
