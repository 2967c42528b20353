"""Feature caches in a bucket: kept there for every machine, read here by memory map from a copy.

The copy lies in the user's cache (`$S2ROBOT_CACHE`), in a folder of its own for each URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from s2robot.data.durable import disk_errors
from s2robot.data.remote import RemoteFiles
from s2robot.utils.hashing import sha256_json
from s2robot.utils.paths import user_cache
from s2robot.utils.progress import Progress

_TRANSFERS = 8  # at a time
_IDENTITY = "identity.json"


def copy_of(url: str) -> Path:
    """The folder on this machine that the features at a URL are copied to."""
    return user_cache() / "features" / sha256_json(url.rstrip("/"))[:16]


class FeatureBucket:
    """Files at `URL/<key>`, named as in the folder `<key>` of a feature cache, which is their copy.

    Its methods raise UserError where the bucket refuses.
    """

    def __init__(self, url: str, copy: Path) -> None:
        self._files = RemoteFiles.open(url)
        self._copy = copy
        self._identified = False

    def names(self) -> set[str]:
        """What is there."""
        return set(self._sizes())

    def give(self, names: Iterable[str]) -> None:
        """Uploads those of these files that this machine alone has."""
        there = self.names()
        here = [name for name in names if name not in there and (self._copy / name).is_file()]
        _at_once(self.put, here, "upload")

    def put(self, name: str) -> None:
        """Uploads a file of the copy, and before any what made them."""
        if not self._identified:
            self._write(_IDENTITY)
            self._identified = True
        self._write(name)

    def fetch(self, names: Iterable[str]) -> None:
        """Downloads those of these files that are there and not here, or here in another length.

        With them comes what made them: a copy may have to give it back.
        """
        sizes, names = self._sizes(), [_IDENTITY, *names]
        wanted = [name for name in names if name in sizes and _size(self._copy / name) != sizes[name]]
        _at_once(self._get, wanted, "download")

    def _sizes(self) -> dict[str, int]:
        return self._files.sizes(self._copy.name)

    def _write(self, name: str) -> None:
        self._files.write(f"{self._copy.name}/{name}", self._copy / name)

    def _get(self, name: str) -> None:
        path, content = self._copy / name, self._files.read(f"{self._copy.name}/{name}")
        with disk_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            staging = path.with_suffix(f".{os.getpid()}.part")
            staging.write_bytes(content)
            staging.replace(path)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _at_once(transfer: Callable[[str], None], names: list[str], what: str) -> None:
    if not names:
        return
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        for _ in Progress(pool.map(transfer, names), desc=what, total=len(names), unit="file"):
            pass
