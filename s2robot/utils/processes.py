"""Which process made a temporary file, and whether it has ended: known across containers and machines."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_TAG = re.compile(r"([0-9a-f]{12})-([0-9]+)-([0-9]+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class ProcessId:
    """A process. Its number alone would mean another one in each container, on each machine, after each boot.

    Attributes:
        place: hash of host, boot and PID namespace: where the number counts.
        pid: the number.
        started: clock ticks from boot to its start, 0 where they are not known; numbers are used again.
    """

    place: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessId:
        """This process."""
        return cls(_place(), os.getpid(), _started(os.getpid()) or 0)

    def has_ended(self) -> bool:
        """Whether it surely runs no more; False for one of another place, of which nothing is known."""
        if self.place != _place():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):  # another user's process; not a process id at all
            return False
        started = _started(self.pid)
        return bool(started and self.started and started != self.started)


def temporary_tag() -> str:
    """Unique text for the name of a temporary file, by which `is_left_over` knows this process."""
    own = ProcessId.own()
    return f"{own.place}-{own.pid}-{own.started}-{secrets.token_hex(4)}"


def is_left_over(name: str) -> bool:
    """Whether a name holds the tag of a process that has surely ended."""
    match = _TAG.search(name)
    return match is not None and ProcessId(match[1], int(match[2]), int(match[3])).has_ended()


def _place() -> str:
    parts = (socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None where /proc is missing, or that of another PID namespace."""
    if _link("/proc/self") != str(os.getpid()):
        return None
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
