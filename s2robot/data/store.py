"""The demo store: a folder of episodes, each committed whole or not at all.

    PATH/zarr.json              Zarr v3 root group: schema, robot spec, versions
    PATH/000012/                one Zarr v3 group an episode, immutable
    PATH/.staging/              episodes under construction: never read, cleaned when their writer is dead
    PATH/.dropped/000012        tombstone: the episode stays on disk and is no longer listed

An episode is written in `.staging`, synced to disk and renamed into place, so a crash at any moment loses at
most the episode being written. What the store holds is what its folder lists: no count can disagree with it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zarr

from s2robot import __version__
from s2robot.data.durable import STAGING, clean_staging, disk_errors, rename_new, staged, sync, sync_tree
from s2robot.data.episode import Episode, EpisodeReader, check_episode, check_json, write_episode
from s2robot.data.jpeg import image_codec
from s2robot.errors import UserError
from s2robot.spec import RobotSpec

__all__ = ["DemoStore", "Episode", "EpisodeReader"]

SCHEMA = "s2robot-demos"
SCHEMA_VERSION = 1
RESERVED = frozenset({"features"})
"""Folders of other parts of s2robot that lie inside a store: never an episode."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MARKER = "zarr.json"
_DROPPED = ".dropped"


@dataclass(frozen=True, eq=False)
class DemoStore:
    """A folder of episodes of one robot; made by `create`, `open` or `open_or_create`.

    Several processes on one machine may append to it and read it at the same time.

    Attributes:
        path: the folder.
        spec: what the robot observes and takes; every episode agrees with it.
        attributes: of the root group: schema, schema_version, robot_spec, created_with and the creator's own.
    """

    path: Path
    spec: RobotSpec
    attributes: dict[str, Any]

    @classmethod
    def create(
        cls, path: str | Path, spec: RobotSpec, attributes: Mapping[str, Any] | None = None
    ) -> DemoStore:
        """Makes an empty store. Raises UserError where the path holds anything already.

        The attribute `image_codec` asks for a lossy codec of the frames (`s2robot.data.jpeg`).
        """
        path = Path(path)
        _check_vacant(path)
        root = {
            **(attributes or {}),
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "robot_spec": spec.to_dict(),
            "created_with": _versions(),
        }
        check_json(root)
        image_codec(root)
        with disk_errors(f"create {path}"):
            path.mkdir(parents=True, exist_ok=True)
        with staged(path, "root") as staging:
            zarr.create_group(staging, zarr_format=3, attributes=root)
            sync_tree(staging)
            os.replace(staging / _MARKER, path / _MARKER)
            sync(path)
            sync(path.parent)
        store = cls.open(path)
        store.clean_staging()
        return store

    @classmethod
    def open(cls, path: str | Path) -> DemoStore:
        """Opens a store without changing it. Raises UserError where there is none of this schema version."""
        path = Path(path)
        root = _root_attributes(path)
        if root is None:
            raise UserError(f"{_not_a_store(path)}; {_stores_near(path)}")
        found = root.get("schema_version")
        if found != SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema version {found}, s2robot {__version__} reads version {SCHEMA_VERSION}; "
                f"it was written with {root.get('created_with')}"
            )
        return cls(path, RobotSpec.from_dict(root.get("robot_spec", {})), root)

    @classmethod
    def open_or_create(
        cls, path: str | Path, spec: RobotSpec, attributes: Mapping[str, Any] | None = None
    ) -> DemoStore:
        """Opens the store at a path, or creates it; `attributes` count only where it is created.

        Raises UserError where the store is of another robot spec, or the path holds something else.
        """
        marker = Path(path) / _MARKER
        if not marker.exists():
            try:
                cls.create(path, spec, attributes)
            except UserError:
                if not marker.exists():  # else another process has just made it
                    raise
        store = cls.open(path)
        difference = store.spec.difference(spec)
        if difference:
            raise UserError(f"{path} holds demos of another robot: {difference}")
        store.clean_staging()
        return store

    def ids(self) -> list[str]:
        """The ids of all episodes, sorted; those dropped are left out."""
        dropped = _names(self.path / _DROPPED)
        return [name for name in sorted(_names(self.path) - dropped) if self._is_episode(name)]

    def __len__(self) -> int:
        return len(self.ids())

    def __contains__(self, episode_id: str) -> bool:
        return self._is_episode(episode_id) and not self._is_dropped(episode_id)

    def episode(self, episode_id: str) -> EpisodeReader:
        """The reader of one episode. Raises UserError for an unknown id."""
        self._check_known(episode_id)
        return EpisodeReader(self.path / episode_id, self.spec)

    def append(self, episode: Episode, episode_id: str | None = None) -> str:
        """Commits an episode and returns its id, by default the next free number; on return it is on disk.

        Raises UserError, and leaves nothing behind, where the episode is not what the spec says, the id is
        taken or malformed, or the disk refuses.
        """
        check_episode(episode, self.spec)
        if episode_id is not None:
            self._check_free(episode_id)
        with staged(self.path, episode_id or "next") as staging:
            write_episode(staging, episode, image_codec(self.attributes))
            sync_tree(staging)
            committed = self._commit(staging, episode_id)
            sync(self.path)
        return committed

    def drop(self, episode_id: str) -> None:
        """Hides an episode for good; files stay, the id stays used. Raises UserError for an unknown id."""
        self._check_known(episode_id)
        folder = self.path / _DROPPED
        with disk_errors(f"drop episode {episode_id} of {self.path}"):
            folder.mkdir(exist_ok=True)
            (folder / episode_id).touch()
            sync_tree(folder)
            sync(self.path)

    def clean_staging(self) -> int:
        """Removes what writers left behind that are no longer alive on this machine; returns how many."""
        return clean_staging(self.path)

    def digest(self) -> str:
        """sha256, in hex, of the ids and contents of all episodes, in whatever order written."""
        lines = (f"{episode_id} {self.episode(episode_id).digest()}\n" for episode_id in self.ids())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _is_episode(self, name: str) -> bool:
        return bool(_ID.fullmatch(name)) and name not in RESERVED and (self.path / name / _MARKER).is_file()

    def _is_dropped(self, episode_id: str) -> bool:
        return (self.path / _DROPPED / episode_id).exists()

    def _check_known(self, episode_id: str) -> None:
        if episode_id in self:
            return
        if self._is_episode(episode_id):
            raise UserError(f"episode {episode_id} of {self.path} was dropped")
        ids = self.ids()
        span = f", {ids[0]} to {ids[-1]}" if ids else ""
        raise UserError(f"unknown episode '{episode_id}' of {self.path}; episodes there: {len(ids)}{span}")

    def _check_free(self, episode_id: str) -> None:
        if not _ID.fullmatch(episode_id) or episode_id in RESERVED:
            raise UserError(
                f"episode id '{episode_id}': expected 1 to 100 of A-Z a-z 0-9 _ -, "
                f"and not {', '.join(sorted(RESERVED))}"
            )
        if os.path.lexists(self.path / episode_id):
            raise self._taken(episode_id)

    def _taken(self, episode_id: str) -> UserError:
        was = "was dropped: an id is used once" if self._is_dropped(episode_id) else "exists already"
        return UserError(f"episode {episode_id} of {self.path} {was}")

    def _commit(self, staging: Path, episode_id: str | None) -> str:
        """Renames a staged episode to its id; where another writer just took a default id, to the next."""
        while True:
            target = episode_id or self._next_id()
            if rename_new(staging, self.path / target):
                return target
            if episode_id:
                raise self._taken(episode_id)

    def _next_id(self) -> str:
        numbers = [int(name) for name in _names(self.path) if name.isascii() and name.isdecimal()]
        return f"{max(numbers, default=-1) + 1:06d}"


def _names(folder: Path) -> set[str]:
    """The names in a folder; none where it does not exist."""
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _root_attributes(path: Path) -> dict[str, Any] | None:
    """The attributes of the demo store at a path; None where there is no store."""
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
    except (ValueError, TypeError, OSError):  # what zarr raises for no group, or broken metadata
        return None
    return attributes if attributes.get("schema") == SCHEMA else None


def _not_a_store(path: Path) -> str:
    if not path.exists():
        return f"no demo store at {path}: the path does not exist"
    return f"{path} is not a demo store: its {_MARKER} is missing or does not say {SCHEMA}"


def _stores_near(path: Path) -> str:
    """The demo stores in a folder or, where it does not exist, in the nearest folder above that does."""
    folder = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    stores = sorted(m.parent.name for m in folder.glob(f"*/{_MARKER}") if _root_attributes(m.parent))
    return f"demo stores in {folder}: {', '.join(stores) or '(none)'}"


def _check_vacant(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: a demo store needs a new or empty folder")
    if _root_attributes(path):
        raise UserError(f"{path} is a demo store already: open it, or name another folder")
    found = sorted(_names(path) - {STAGING})  # a creator killed in the act leaves only that
    if found:
        more = ", ..." if len(found) > 5 else ""
        raise UserError(f"{path} is not empty, it holds {', '.join(found[:5])}{more}: name another folder")


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "zarr")}
    return {"s2robot": __version__, "python": platform.python_version(), **packages}
