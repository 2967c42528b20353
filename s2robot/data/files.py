"""Where the files of a demo store lie. A store is read through this alone, and written only to a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from s2robot.core.errors import UserError


class Files(Protocol):
    """The files of a demo store, for reading; names are relative to the store, with slashes.

    What is missing raises FileNotFoundError. `str()` gives the place as a user writes it.
    """

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading through `zarr` raises where the place cannot be reached."""
        ...

    @property
    def zarr(self) -> Any:
        """The same place as `zarr.open_array(..., path=name)` takes it."""
        ...

    def read(self, name: str, last: int | None = None) -> bytes:
        """The content of a file, or its last bytes."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def names(self, folder: str) -> set[str]:
        """What lies in a folder; nothing where it does not exist."""
        ...

    def folders_with(self, name: str) -> set[str]:
        """The folders of the store that hold a file of this name."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Every file below a folder: its name relative to the folder -> bytes."""
        ...


def open_files(path: str | Path) -> Files:
    """The files at a path or, as text, a URL. Raises UserError for a URL that cannot be read."""
    if not is_url(path):
        return LocalFiles(Path(path))
    from s2robot.data.remote import RemoteFiles  # here, since most stores are folders

    return RemoteFiles.open(str(path))


def local_path(path: str | Path) -> Path:
    """A path to write to. Raises UserError for a URL."""
    if is_url(path):
        raise UserError(f"{path} is not on this machine, and stores are written only here: name a folder")
    return Path(path)


def is_url(path: str | Path | None) -> bool:
    """Whether text names a place on a network."""
    return isinstance(path, str) and "://" in path


@dataclass(frozen=True)
class LocalFiles:
    """A folder on this machine."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        return (OSError,)

    @property
    def zarr(self) -> Path:
        return self.root

    def read(self, name: str, last: int | None = None) -> bytes:
        with (self.root / name).open("rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def names(self, folder: str) -> set[str]:
        place = self.root / folder
        return set(os.listdir(place)) if place.is_dir() else set()

    def folders_with(self, name: str) -> set[str]:
        return {folder for folder in self.names("") if self.exists(f"{folder}/{name}")}

    def sizes(self, folder: str) -> dict[str, int]:
        root = self.root / folder
        found = (Path(parent, name) for parent, _, names in os.walk(root) for name in names)
        return {file.relative_to(root).as_posix(): file.stat().st_size for file in found}
