"""A file from the web, once: resumed where a try broke off, checked, renamed into place."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import io
import os
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors, sync
from s2robot.utils.progress import Progress

_TIMEOUT = 30.0  # s without a byte
_TRIES = 5  # a download, each from where the last one broke off
_CHUNK = 1 << 20  # bytes


class _Broken(Exception):
    """The connection failed; a further try may go on from here."""


def download(url: str, path: Path, md5: str, what: str) -> None:
    """Fetches `url` to `path`, unless it is there.

    What a try that broke off had brought lies beside it as `.part`; the next one, in this call or a later
    one, goes on from there where the server can (HTTP Range), else begins again. Two processes do not fetch
    it twice.

    Args:
        md5: of the whole file (hex).
        what: names the file beside the progress bar.

    Raises:
        UserError: no connection, a server's refusal, a wrong checksum, a disk that refuses. The message says
            which file to put where.
    """
    if path.is_file():
        return
    part = path.with_name(path.name + ".part")
    with disk_errors(f"write {part}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.is_file():  # another process was at it, and is done
            part.unlink(missing_ok=True)
            return
        file.seek(0, os.SEEK_END)
        _fetch(url, file, f"put that file (md5 {md5}) at {path}", what)
        with disk_errors(f"write {path}"):
            _commit(file, part, path, md5, url)


def md5_file(path: Path) -> str:
    """The md5 sum of a file (hex): against damage, not against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _commit(file: io.FileIO, part: Path, path: Path, md5: str, url: str) -> None:
    os.fsync(file.fileno())
    if (found := md5_file(part)) != md5:
        file.truncate(0)  # not unlinked: another process may wait for the lock on it
        raise UserError(
            f"{url} gave a file of md5 {found}, which is deleted: "
            f"try again, or put the one of md5 {md5} at {path}"
        )
    part.replace(path)
    sync(path.parent)


def _fetch(url: str, file: io.FileIO, instead: str, what: str) -> None:
    broken = _Broken()
    for _ in range(_TRIES):
        before = file.tell()
        try:
            return _get(url, file, what)
        except _Broken as error:
            broken = error
        if file.tell() <= before:
            break
    kept = f"{file.tell() / 1e6:.1f} MB are kept, try again to go on, or " if file.tell() >= 50_000 else ""
    raise UserError(f"cannot fetch {url} ({broken}): {kept}{instead}") from broken


def _get(url: str, file: io.FileIO, what: str) -> None:
    """One try, appending to what `file` has. Raises _Broken."""
    have = file.tell()
    headers = {"User-Agent": "s2robot"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT) as response:
            _append(response, file, what)
    except HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise _Broken(f"HTTP {error.code} {error.reason}") from error
        # nothing is left to fetch: the checksum decides
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _append(response: http.client.HTTPResponse, file: io.FileIO, what: str) -> None:
    if response.status != http.client.PARTIAL_CONTENT and file.tell():
        with disk_errors(f"write {file.name}"):
            file.truncate(0)
            file.seek(0)
    have = file.tell()
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with Progress(desc=what, initial=have, total=total, unit="B", unit_scale=True) as progress:
        while chunk := response.read(_CHUNK):
            _write(file, chunk)
            progress.update(len(chunk))
    if total is not None and file.tell() < total:
        raise _Broken(f"broken off after {file.tell() / 1e6:.1f} of {total / 1e6:.1f} MB")


def _write(file: io.FileIO, chunk: bytes) -> None:
    with disk_errors(f"write {file.name}"):
        while chunk:
            chunk = chunk[file.write(chunk) :]
