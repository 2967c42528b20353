"""The finished rollouts of an evaluation that is under way: a crash loses at most those being rolled out.

OUT/unfinished/identity.json    what the rollouts are of
OUT/unfinished/000007.mp4       a film, where one is made
OUT/unfinished/000007.json      the outcome and the hash of what it is of; last, so the rollout is whole
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors, sync
from s2robot.reports.schema import check_rollout
from s2robot.utils.atomic_io import read_json, write_atomic, write_json
from s2robot.utils.hashing import first_difference, plain, sha256_json

_MEND = "delete its folder and evaluate again"


@dataclass(frozen=True)
class Rollout:
    """One that is finished: its number, its outcome as in `evaluation.json`, its H.264 file if filmed."""

    index: int
    outcome: dict[str, Any]
    film: bytes | None


@dataclass(frozen=True)
class Unfinished:
    """The folder in which finished rollouts wait for the others; made by `begin`.

    Attributes:
        identity: all that decides the outcomes, in sections: rollouts of anything else are never mixed in.
    """

    folder: Path
    identity: Mapping[str, Any]

    @classmethod
    def begin(cls, out: Path, identity: Mapping[str, Any], overwrite: bool) -> Unfinished:
        """Takes up what is there, or begins. Nothing is written before the first rollout.

        Raises UserError where rollouts of another identity are there, unless `overwrite`, which removes them.
        """
        folder = out / "unfinished"
        self = cls(folder, plain(identity))
        difference = self._difference() if folder.is_dir() else None
        if difference and not overwrite:
            raise UserError(
                f"{out} holds an unfinished evaluation with {difference}: go on with what it was begun with, "
                "give another out=, or overwrite=true to begin anew"
            )
        if difference:
            self.discard()
        return self

    def kept(self, indexes: set[int]) -> dict[int, Rollout]:
        """Those of these numbers that are finished, and of this identity."""
        files = {int(path.stem): path for path in self.folder.glob("*.json") if path.stem.isdecimal()}
        read = {i: self._read(i, path) for i, path in files.items() if i in indexes}
        return {i: rollout for i, rollout in read.items() if rollout is not None}

    def keep(self, rollout: Rollout) -> None:
        """On return it is on disk. Raises UserError where the disk refuses."""
        with disk_errors(f"write to {self.folder}"):
            if not (self.folder / "identity.json").exists():
                write_json(self.folder / "identity.json", self.identity)
            if rollout.film is not None:
                write_atomic(self._path(rollout.index, "mp4"), rollout.film)
            kept = {"identity": sha256_json(self.identity), "outcome": rollout.outcome}
            write_json(self._path(rollout.index, "json"), kept)
            sync(self.folder)

    def discard(self) -> None:
        """Removes the folder: all are in `evaluation.json`, or unwanted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:06d}.{suffix}"

    def _read(self, index: int, path: Path) -> Rollout | None:
        """None for a rollout of something else."""
        kept, film = read_json(path, _MEND), path.with_suffix(".mp4")
        if kept.get("identity") != sha256_json(self.identity):
            return None
        check_rollout(kept.get("outcome"), str(path))
        return Rollout(index, kept["outcome"], film.read_bytes() if film.is_file() else None)

    def _difference(self) -> str | None:
        """In words, the first thing in which the rollouts there were begun otherwise; None: in nothing."""
        path = self.folder / "identity.json"
        if not path.is_file():
            return None  # killed before anything was finished
        return first_difference(read_json(path, _MEND), self.identity)
