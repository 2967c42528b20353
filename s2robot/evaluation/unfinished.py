"""The finished rollouts of an evaluation that is under way: a crash loses at most those being rolled out.

OUT/unfinished/identity.json    what the rollouts are of
OUT/unfinished/000007.mp4       a film, where one is made
OUT/unfinished/000007.json      the outcome; it comes last, so a rollout is whole where it is
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors, sync
from s2robot.utils.atomic_io import write_atomic, write_json
from s2robot.utils.hashing import first_difference, plain


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
        """Those of these numbers that are finished."""
        files = {int(path.stem): path for path in self.folder.glob("*.json") if path.stem.isdecimal()}
        return {i: self._read(i, path) for i, path in files.items() if i in indexes}

    def keep(self, rollout: Rollout) -> None:
        """On return it is on disk. Raises UserError where the disk refuses."""
        with disk_errors(f"write to {self.folder}"):
            if not (self.folder / "identity.json").exists():
                write_json(self.folder / "identity.json", self.identity)
            if rollout.film is not None:
                write_atomic(self._path(rollout.index, "mp4"), rollout.film)
            write_json(self._path(rollout.index, "json"), rollout.outcome)
            sync(self.folder)

    def discard(self) -> None:
        """Removes the folder: all are in `evaluation.json`, or unwanted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:06d}.{suffix}"

    def _read(self, index: int, path: Path) -> Rollout:
        film = path.with_suffix(".mp4")
        return Rollout(index, _read_json(path), film.read_bytes() if film.is_file() else None)

    def _difference(self) -> str | None:
        """In words, the first thing in which the rollouts there were begun otherwise; None: in nothing."""
        path = self.folder / "identity.json"
        if not path.is_file():
            return None  # killed before anything was finished
        return first_difference(_read_json(path), self.identity)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {path.parent} and evaluate again") from error
