"""A file or folder that appears whole or not at all, and never in the place of another."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s2robot.data.durable import disk_errors
from s2robot.errors import UserError


@contextmanager
def new_path(out: Path) -> Iterator[Path]:
    """A hidden path beside `out`, to write a file or folder to, that becomes `out` on leaving.

    After an error nothing is left. Raises UserError where `out` exists, or where the disk refuses.
    """
    _check_free(out)
    staging = out.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{out.name}")
    try:
        with disk_errors(f"write {out}"):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield staging
            _check_free(out)
            os.rename(staging, out)
    finally:
        if staging.is_dir():
            shutil.rmtree(staging, ignore_errors=True)
        staging.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_free(out: Path) -> None:
    if os.path.lexists(out):
        raise UserError(f"{out} exists already: nothing is overwritten, name another out=")
