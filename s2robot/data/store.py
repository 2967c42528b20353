"""The demo store: a folder of episodes, each committed whole or not at all.

    PATH/zarr.json              Zarr v3 root group: schema, robot spec, versions
    PATH/000012/                one Zarr v3 group an episode, immutable
    PATH/.staging/              episodes under construction: never read, removed when their writer has ended
    PATH/.dropped/000012        tombstone: the episode stays on disk and is no longer listed
    PATH/.broken/000012/        an episode that `repair` moved aside, whatever is left of it

An episode is written in `.staging`, synced to disk and renamed into place, so a crash at any moment loses at
most the episode being written. What the store holds is what its folder lists: no count can disagree with it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.durable import clean_staging, disk_errors, rename_new, staged, sync, sync_tree
from s2robot.data.episode import MARKER, Episode, check_episode, check_json, check_staged, write_episode
from s2robot.data.files import Files, LocalFiles, local_path, open_files
from s2robot.data.reader import EpisodeReader, copy_episode
from s2robot.data.schema import check_vacant, new_root, root_attributes
from s2robot.data.seal import sealed

__all__ = ["DemoStore", "Episode", "EpisodeReader"]

RESERVED = frozenset({"features"})
"""Folders of other parts of s2robot that lie inside a store: never an episode."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
DROPPED, BROKEN = ".dropped", ".broken"


@dataclass(frozen=True, eq=False)
class DemoStore:
    """A folder of episodes of one robot; made by `create`, `open` or `open_or_create`.

    Several processes, also of several containers and machines, may append to it and read it at the same time.

    Attributes:
        files: where it lies. `str()` of a store is that place as a user writes it.
        spec: what the robot observes and takes; every episode agrees with it.
        attributes: of the root group: schema, schema_version, robot_spec, created_with and the creator's own.

    Examples:
        >>> store = s2robot.DemoStore.open("runs/demos")
        >>> len(store), list(store.spec.cameras)
        (4, ['front', 'wrist'])
        >>> episode = store.episodes()[0]
        >>> episode.images("front", slice(0, 2)).shape
        (2, 64, 64, 3)
        >>> episode.action.shape == (episode.length, store.spec.action_dim)
        True
    """

    files: Files
    spec: RobotSpec
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return str(self.files)

    @property
    def path(self) -> Path:
        """The folder, for whatever is written. Raises UserError where the store is not on this machine."""
        if not isinstance(self.files, LocalFiles):
            raise UserError(f"{self} is not on this machine: nothing is written there, name a folder for it")
        return self.files.root

    @classmethod
    def create(
        cls, path: str | Path, spec: RobotSpec, attributes: Mapping[str, Any] | None = None
    ) -> DemoStore:
        """Makes an empty store. Raises UserError where the path holds anything already.

        The attribute `image_codec` asks for a lossy codec of the frames (`s2robot.data.jpeg`).
        """
        import zarr  # here and below: it takes longer than listing a store

        from s2robot.data.jpeg import image_codec

        path = local_path(path)
        check_vacant(path)
        root = new_root(spec.to_dict(), dict(attributes or {}))
        check_json(root)
        image_codec(root)
        with disk_errors(f"create {path}"):
            path.mkdir(parents=True, exist_ok=True)
        with staged(path, "root") as staging:
            zarr.create_group(staging, zarr_format=3, attributes=sealed(root))
            sync_tree(staging)
            os.replace(staging / MARKER, path / MARKER)
            sync(path)
            sync(path.parent)
        store = cls.open(path)
        store.clean_staging()
        return store

    @classmethod
    def open(cls, path: str | Path, check: bool = True) -> DemoStore:
        """Opens a store, in a folder or at s3://BUCKET/PREFIX, without changing it.

        Raises UserError where there is none of this schema version and, unless `check` is False, where what
        it says of itself was edited after it was written.
        """
        files = open_files(path)
        root = root_attributes(files, check)
        return cls(files, RobotSpec.from_dict(root.get("robot_spec", {})), root)

    @classmethod
    def open_or_create(
        cls, path: str | Path, spec: RobotSpec, attributes: Mapping[str, Any] | None = None
    ) -> DemoStore:
        """Opens the store at a path, or creates it; `attributes` count only where it is created.

        Raises UserError where the store is of another robot spec, or the path holds something else.
        """
        marker = local_path(path) / MARKER
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
        found = self.files.folders_with(MARKER) - self.files.names(DROPPED)
        return sorted(name for name in found if is_id(name))

    def __len__(self) -> int:
        return len(self.ids())

    def __contains__(self, episode_id: str) -> bool:
        return self._is_episode(episode_id) and not self._is_dropped(episode_id)

    def episode(self, episode_id: str) -> EpisodeReader:
        """The reader of one episode. Raises UserError for an unknown id."""
        self._check_known(episode_id)
        return EpisodeReader(self.files, episode_id, self.spec)

    def episodes(self) -> list[EpisodeReader]:
        """The readers of all episodes, sorted by id."""
        return [EpisodeReader(self.files, episode_id, self.spec) for episode_id in self.ids()]

    def append(self, episode: Episode, episode_id: str | None = None) -> str:
        """Commits an episode and returns its id, by default the next free number; on return it is on disk.

        Raises UserError, and leaves nothing behind, where the episode is not what the spec says, the id is
        taken or malformed, or the disk refuses.
        """
        from s2robot.data.jpeg import image_codec

        check_episode(episode, self.spec)
        codec = image_codec(self.attributes)
        return self._add(lambda folder: write_episode(folder, episode, codec), episode_id)

    def append_copy(
        self, source: EpisodeReader, attributes: Mapping[str, Any], episode_id: str | None = None
    ) -> str:
        """Commits a copy of an episode, byte for byte but for these further attributes; as `append`."""
        check_json(attributes)
        return self._add(lambda folder: copy_episode(source, folder, attributes), episode_id)

    def drop(self, episode_id: str) -> None:
        """Hides an episode for good; files stay, the id stays used. Raises UserError for an unknown id."""
        self._check_known(episode_id)
        folder = self.path / DROPPED
        with disk_errors(f"drop episode {episode_id} of {self}"):
            folder.mkdir(exist_ok=True)
            (folder / episode_id).touch()
            sync_tree(folder)
            sync(self.path)

    def set_aside(self, episode_id: str) -> Path:
        """Moves whatever has this name, listed or not, to `.broken`; returns where it lies there.

        Nothing of it is changed, and the id is free again.
        """
        area = self.path / BROKEN
        with disk_errors(f"move episode {episode_id} of {self} aside"):
            area.mkdir(exist_ok=True)
            names = (f"{episode_id}-{n}" if n else episode_id for n in itertools.count())
            target = next(t for t in map(area.joinpath, names) if rename_new(self.path / episode_id, t))
            sync(area)
            sync(self.path)
        return target

    def clean_staging(self) -> int:
        """Removes what writers left behind that have surely ended; returns how many."""
        return clean_staging(self.path)

    def digest(self) -> str:
        """sha256, in hex, of the ids and contents of all episodes, in whatever order written."""
        return digest_of({episode_id: self.episode(episode_id).digest() for episode_id in self.ids()})

    def _add(self, write: Callable[[Path], None], episode_id: str | None) -> str:
        """Commits what `write` puts into a staged folder."""
        if episode_id is not None:
            self._check_free(episode_id)
        with staged(self.path, episode_id or "next") as staging:
            write(staging)
            sync_tree(staging)
            check_staged(staging, self.spec)
            committed = self._commit(staging, episode_id)
            sync(self.path)
        return committed

    def _is_episode(self, name: str) -> bool:
        return is_id(name) and self.files.exists(f"{name}/{MARKER}")

    def _is_dropped(self, episode_id: str) -> bool:
        return self.files.exists(f"{DROPPED}/{episode_id}")

    def _check_known(self, episode_id: str) -> None:
        if episode_id in self:
            return
        if self._is_episode(episode_id):
            raise UserError(f"episode {episode_id} of {self} was dropped")
        ids = self.ids()
        span = f", {ids[0]} to {ids[-1]}" if ids else ""
        raise UserError(f"unknown episode '{episode_id}' of {self}; episodes there: {len(ids)}{span}")

    def _check_free(self, episode_id: str) -> None:
        if not is_id(episode_id):
            raise UserError(
                f"episode id '{episode_id}': expected 1 to 100 of A-Z a-z 0-9 _ -, "
                f"and not {', '.join(sorted(RESERVED))}"
            )
        if os.path.lexists(self.path / episode_id):
            raise self._taken(episode_id)

    def _taken(self, episode_id: str) -> UserError:
        was = "was dropped: an id is used once" if self._is_dropped(episode_id) else "exists already"
        return UserError(f"episode {episode_id} of {self} {was}")

    def _commit(self, staging: Path, episode_id: str | None) -> str:
        """Renames a staged episode to its id; where another writer just took a default id, to the next."""
        while True:
            target = episode_id or self._next_id()
            if rename_new(staging, self.path / target):
                return target
            if episode_id:
                raise self._taken(episode_id)

    def _next_id(self) -> str:
        numbers = [int(name) for name in self.files.names("") if name.isascii() and name.isdecimal()]
        return f"{max(numbers, default=-1) + 1:06d}"


def digest_of(episodes: Mapping[str, str]) -> str:
    """The digest of a store of these episodes: id -> digest."""
    lines = (f"{episode_id} {digest}\n" for episode_id, digest in sorted(episodes.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_id(name: str) -> bool:
    """Whether an episode may have this name."""
    return bool(_ID.fullmatch(name)) and name not in RESERVED
