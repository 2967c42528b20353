"""A new file or folder: whole or not at all, never over an existing one."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.utils.processes import is_left_over, temporary_tag


@contextmanager
def new_path(out: Path) -> Iterator[Path]:
    """A temporary path beside `out`, to write a file or folder to, that becomes `out` on leaving.

    After an error nothing is left, and the leftovers of a killed process are removed by the next. Raises
    UserError where `out` exists, or where the disk refuses.
    """
    _check_free(out)
    for left in out.parent.glob(f".*-*.{glob.escape(out.name)}"):
        if is_left_over(left.name):
            _remove(left)
    staging = out.with_name(f".{temporary_tag()}.{out.name}")
    try:
        with disk_errors(f"write {out}"):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield staging
            _check_free(out)
            os.rename(staging, out)
    finally:
        _remove(staging)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # none there, or its folder is a file
        path.unlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_free(out: Path) -> None:
    if os.path.lexists(out):
        raise UserError(f"{out} exists already: nothing is overwritten, name another out=")
