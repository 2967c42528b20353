"""What is wrong with the episodes of a store: every byte of them is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.anomalies import out_of_range, stuck
from s2robot.data.episode import MARKER, SERIES, check_array, check_finite, check_time, recorded_start
from s2robot.data.reader import Damaged, EpisodeReader, Unreachable
from s2robot.data.store import DROPPED, DemoStore, is_id
from s2robot.utils.progress import Progress

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "success": ((bool, type(None)), "true, false or null"),
    "seed": ((int,), "a whole number"),
    "attempts": ((int,), "a whole number"),
    "config": ((dict,), "a section"),
    "versions": ((dict,), "a section"),
    "metrics": ((dict,), "a section"),
    "sources": ((list,), "a list"),
    **dict.fromkeys(("instruction", "operator", "notes", "teleop"), ((str, type(None)), "text")),
}
"""Attributes of an episode that other commands read."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        episode: its id.
        what: in words.
        damaged: whether the episode breaks the store's rules or cannot be read; else it is an anomaly.
    """

    episode: str
    what: str
    damaged: bool

    def __str__(self) -> str:
        return f"{self.episode}: {self.what}"


def validate(store: DemoStore) -> list[Finding]:
    """Everything that is wrong, by episode: files missing, cut short or edited; arrays that are not what the
    spec says; numbers that are not finite; time that goes back; cameras that are stuck; actions out of range.

    Raises UserError where a file cannot be reached, so that nothing can be said.
    """
    lost = f"{MARKER} is missing: it is not listed as an episode"
    findings = [Finding(name, lost, damaged=True) for name in lost_episodes(store)]
    actions: dict[str, dict[str, np.ndarray]] = {"action": {}, "action_applied": {}}
    for reader in Progress(store.episodes(), desc="validate", unit="demo"):
        found, series = examine(reader, store.spec)
        findings += found
        for name, of_episodes in actions.items():
            if name in series and np.isfinite(series[name]).all():
                of_episodes[reader.id] = series[name]
    for name, of_episodes in actions.items():
        far = out_of_range(name, of_episodes, store.spec.action)
        findings += [Finding(episode_id, what, damaged=False) for episode_id, what in far]
    return sorted(findings, key=lambda finding: finding.episode)


def lost_episodes(store: DemoStore) -> list[str]:
    """The folders that hold arrays and have lost the file that makes them episodes."""
    files = store.files
    names = set(filter(is_id, files.names(""))) - files.folders_with(MARKER) - files.names(DROPPED)
    return sorted(n for n in names if any(f.endswith(f"/{MARKER}") for f in files.sizes(n)))


def examine(reader: EpisodeReader, spec: RobotSpec) -> tuple[list[Finding], dict[str, np.ndarray]]:
    """What is wrong with one episode by itself, and those of its series that can be read."""
    notes = _Notes(reader.id)
    series: dict[str, np.ndarray] = {}
    with notes.caught():
        steps = _length(reader)
        _note_attributes(reader.attributes, steps, notes)
        _note_other_files(reader, steps, spec, notes)
        for name, labels in _labels(spec).items():
            dtype, shape = (np.float64, (steps,)) if labels is None else (np.float32, (steps, len(labels)))
            with notes.caught():
                check_array(name, reader.array(name), dtype, shape)
                blocks = [block for _, block in _blocks(reader, name, steps, notes)]
                if sum(map(len, blocks)) == steps:
                    series[name] = np.concatenate(blocks)
                    _check_values(name, series[name], labels)
        for camera, shape in spec.cameras.items():
            name = f"images/{camera}"
            with notes.caught():
                check_array(name, reader.array(name), np.uint8, (steps, *shape))
                same = _note_frames(reader, name, steps, notes)
                for what in stuck(same, series["proprio"], spec) if "proprio" in series else ():
                    notes.add(f"{name}: {what}", damaged=False)
    return notes.findings, series


class _Notes:
    """Collects the findings of one episode."""

    def __init__(self, episode_id: str) -> None:
        self._id = episode_id
        self.findings: list[Finding] = []

    def add(self, what: str, damaged: bool = True) -> None:
        self.findings.append(Finding(self._id, what, damaged))

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Notes what is raised of a damaged episode, and goes on behind the block."""
        try:
            yield
        except Unreachable:
            raise
        except Damaged as error:
            self.add(f"{error.name}: {error.reason}")
        except UserError as error:
            self.add(str(error))


def _length(reader: EpisodeReader) -> int:
    steps = reader.attributes.get("length")
    root = json.loads(reader.file(MARKER))
    if (root.get("zarr_format"), root.get("node_type")) != (3, "group"):
        raise UserError(f"{MARKER} is not that of a Zarr v3 group")
    if not isinstance(steps, int) or steps < 1:
        raise UserError(f"{MARKER}: length is {steps!r}, expected a number of steps")
    return steps


def _labels(spec: RobotSpec) -> dict[str, tuple[str, ...] | None]:
    """Series -> the names of its entries; None for time, which has none."""
    labels = {"proprio": spec.proprio, "time": None}
    return {name: labels.get(name, spec.action) for name in SERIES}


def _check_values(name: str, array: np.ndarray, labels: tuple[str, ...] | None) -> None:
    if labels is None:
        check_time(array)
    else:
        check_finite(name, array, labels)


def _note_attributes(attributes: Mapping[str, Any], steps: int, notes: _Notes) -> None:
    for name in ("action_loss_mask", "by_person"):
        mask = attributes.get(name, [True] * steps)
        if not isinstance(mask, list) or len(mask) != steps:
            notes.add(f"{MARKER}: {name} has not one entry a step, of which there are {steps}")
        elif not all(isinstance(entry, bool) for entry in mask):
            notes.add(f"{MARKER}: {name} has entries other than true and false")
    for name, (kinds, expected) in _KINDS.items():
        # type, not isinstance: true is no whole number
        if name in attributes and type(attributes[name]) not in kinds:
            notes.add(f"{MARKER}: {name} is {attributes[name]!r}, expected {expected}")
    with notes.caught():
        recorded_start(attributes)


def _note_other_files(reader: EpisodeReader, steps: int, spec: RobotSpec, notes: _Notes) -> None:
    """Groups between the arrays, and arrays that the spec does not ask for."""
    files = reader.sizes()
    expected = {*SERIES, *(f"images/{camera}" for camera in spec.cameras)}
    found = {file.rpartition("/")[0] for file in files if file.endswith(f"/{MARKER}")}
    parents = {name.rpartition("/")[0] for name in expected | found} - {""}
    for name in sorted((found | parents) - expected):
        with notes.caught():
            if f"{name}/{MARKER}" not in files:
                raise UserError(f"{name}/{MARKER} is missing")
            if reader.node_type(name) == "array":
                if reader.array(name).shape[0] != steps:
                    raise UserError(f"{name} is {reader.array(name).shape}, expected {steps} steps")
                for _ in _blocks(reader, name, steps, notes):
                    pass


def _blocks(reader: EpisodeReader, name: str, steps: int, notes: _Notes) -> Iterator[tuple[int, np.ndarray]]:
    """Chunk by chunk, the first step and what can be read; what cannot is noted."""
    size = reader.array(name).chunks[0]
    for start in range(0, steps, size):
        stop = min(start + size, steps)
        try:
            yield start, reader.read(name, start, stop)
        except Damaged as error:
            notes.add(f"{name}: steps {start} to {stop - 1}: {error.reason}")


def _note_frames(reader: EpisodeReader, name: str, steps: int, notes: _Notes) -> np.ndarray:
    """Whether each step's frame is that of the step before: bool (T,), False where it is not known."""
    same = np.zeros(steps, bool)
    last: tuple[int, np.ndarray] | None = None
    for start, frames in _blocks(reader, name, steps, notes):
        same[start + 1 : start + len(frames)] = (frames[1:] == frames[:-1]).all(axis=(1, 2, 3))
        if last is not None and last[0] == start - 1:
            same[start] = np.array_equal(last[1], frames[0])
        last = start + len(frames) - 1, frames[-1]
    return same
