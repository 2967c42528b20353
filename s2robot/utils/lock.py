"""One command at a time in a folder of results: the second is refused, and told who holds it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from s2robot.core.errors import UserError
from s2robot.utils.processes import ProcessId

NAME = ".lock"
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EBADF, errno.EACCES, errno.EPERM}
_SETTLE = (
    0.1  # s: where there is no flock, a rival that began at the same moment has written its name by then
)

_held: set[Path] = set()


@contextmanager
def hold(folder: str | Path, command: str) -> Iterator[None]:
    """Holds a folder, which is made, until the block ends; a crash lets go of it, since the kernel does.

    A command that runs another in the same process holds the folder once. Where the folder cannot be made or
    written to nothing is held: the command says what is wrong with it.

    Raises UserError, naming command, process, host and time, where another process holds the folder.
    """
    folder = Path(folder).resolve()
    if folder in _held:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    handle = _lock(folder, _Owner.own(command))
    _held.add(folder)
    try:
        yield
    finally:
        _held.discard(folder)
        if handle is not None:
            (folder / NAME).unlink(missing_ok=True)
            os.close(handle)
        with suppress(OSError):  # the first that holds anything
            for path in made:
                path.rmdir()


@dataclass(frozen=True)
class _Owner:
    """Who holds a folder, as its lock file says."""

    process: ProcessId
    host: str
    command: str
    since: str

    @classmethod
    def own(cls, command: str) -> _Owner:
        return cls(ProcessId.own(), socket.gethostname(), command, time.strftime("%Y-%m-%d %H:%M:%S"))

    @classmethod
    def read(cls, handle: int) -> _Owner | None:
        """None where nothing is said: between its making and its writing, or on a full disk."""
        try:
            about = json.loads(os.pread(handle, 10_000, 0))
            return cls(ProcessId(**about.pop("process")), **about)
        except (ValueError, TypeError, LookupError, AttributeError):
            return None

    def write(self, handle: int) -> None:
        with suppress(OSError):  # a full disk: the lock holds all the same, its owner is not named
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(self)).encode(), 0)


def _lock(folder: Path, own: _Owner) -> int | None:
    """The open lock file, None where there can be none."""
    path = folder / NAME
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return None
        try:
            _claim(handle, folder, own)
            if _is_still_there(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its last holder has just removed it


def _claim(handle: int, folder: Path, own: _Owner) -> None:
    """Raises UserError where another process holds the folder."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder, _Owner.read(handle)) from None
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        _claim_by_name(handle, folder, own)
    else:
        own.write(handle)


def _claim_by_name(handle: int, folder: Path, own: _Owner) -> None:
    """Where the file system knows no flock: by what the file says, which a crash leaves there."""
    owner = _Owner.read(handle)
    if owner is None or owner.process.has_ended():
        own.write(handle)
        time.sleep(_SETTLE)
        owner = _Owner.read(handle)
    if owner not in (None, own):
        raise _in_use(folder, owner, f" (if that is over, delete {folder / NAME})")


def _is_still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _in_use(folder: Path, owner: _Owner | None, hint: str = "") -> UserError:
    who = "another process"
    if owner is not None:
        who = f"`s2robot {owner.command}` (process {owner.process.pid} on {owner.host}, since {owner.since})"
    return UserError(f"{folder} is in use by {who}: wait for it, end it, or give another out={hint}")
