"""Writing that survives a crash: build in a staging folder, sync to disk, rename into place."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from s2robot.core.errors import UserError

STAGING = ".staging"

_SYNCS = 8  # at a time
_PAUSE, _LOOKS = 0.05, 40  # s between checks that a folder stays away, and how many at most


@contextmanager
def disk_errors(task: str) -> Iterator[None]:
    """Turns what the file system refuses (disk full, no permission) into a UserError `cannot <task>: why`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {task}: {error.strerror or error}") from error


@contextmanager
def staged(root: Path, name: str) -> Iterator[Path]:
    """A new folder `.staging/<name>-<pid>-<random>`, gone on leaving unless it was renamed away.

    Raises UserError where the disk refuses, there or in the body.
    """
    folder = root / STAGING / f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
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
    """Removes the staging folders whose writer no longer runs on this machine; returns how many."""
    area = root / STAGING
    leftovers = [p for p in area.iterdir() if not _writer_runs(p.name)] if area.is_dir() else []
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)
    return len(leftovers)


def _writer_runs(staged_name: str) -> bool:
    match = re.fullmatch(r".+-([0-9]+)-[0-9a-f]+", staged_name)
    if not match:
        return True  # not one of ours: leave it alone
    return is_running(int(match[1]))


def is_running(process: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process; not a process id at all
        return True
    return True


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
    """The content of a file, or the entries of a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
