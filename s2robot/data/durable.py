"""Writing that survives a crash: build in a staging folder, sync to disk, rename into place."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from s2robot.core.errors import UserError
from s2robot.utils.processes import is_left_over, temporary_tag

STAGING = ".staging"

_SYNCS = 8  # at a time
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOSYS}
_PAUSE, _LOOKS = 0.05, 40  # s between checks that a folder stays away, and how many at most


class DiskError(UserError):
    """What the file system refuses: disk full, no permission."""


@contextmanager
def disk_errors(task: str) -> Iterator[None]:
    """Turns what the file system refuses into a DiskError `cannot <task>: why`."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"cannot {task}: {error.strerror or error}") from error


@contextmanager
def staged(root: Path, name: str) -> Iterator[Path]:
    """A new folder `.staging/<name>-<tag of this process>`, gone on leaving unless it was renamed away.

    Raises UserError where the disk refuses, there or in the body.
    """
    folder = root / STAGING / f"{name}-{temporary_tag()}"
    try:
        with disk_errors(f"write to {root}"):
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir()
            yield folder
    except BaseException:
        _remove_for_good(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_for_good(folder: Path) -> None:
    """Where one chunk failed, zarr still writes others for a moment, and makes the folder anew."""
    gone = 0
    for _ in range(_LOOKS):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_PAUSE)
        gone = 0 if folder.exists() else gone + 1
        if gone == 3:
            return


def clean_staging(root: Path) -> int:
    """Removes the staging folders whose writer has surely ended; returns how many.

    Those of other machines, containers and boots stay: their writers may still be at work.
    """
    area = root / STAGING
    leftovers = [path for path in area.iterdir() if is_left_over(path.name)] if area.is_dir() else []
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)
    return len(leftovers)


def rename_new(source: Path, target: Path) -> bool:
    """Renames a folder; False where the target exists. The kernel decides, so two writers cannot both win."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def sync_tree(folder: Path) -> None:
    """Every file and folder below, and the folder itself, onto the disk; in no order, but all of them.

    Several at a time share the journal's commits: eight are about eight times as fast as one after the other.
    """
    paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in (*names, "")]
    with ThreadPoolExecutor(_SYNCS) as pool:
        list(pool.map(sync, paths))


def sync(path: Path) -> None:
    """The content of a file, or the entries of a folder, onto the disk.

    Some file systems (SMB, FUSE, WSL) cannot sync a folder: that is said once, and it goes on.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC or not path.is_dir():
            raise
        _say_no_folder_sync()


@cache
def _say_no_folder_sync() -> None:
    print(
        "s2robot: this file system does not sync folders: a power cut may undo what was written last",
        file=sys.stderr,
    )
