"""Tags of temporary files, as processes leave them that have ended or that run elsewhere."""

from __future__ import annotations

import subprocess
import sys

from s2robot.utils.processes import temporary_tag

TAG = "from s2robot.utils.processes import temporary_tag; print(temporary_tag())"


def ended_tag() -> str:
    """Of a process on this machine that has ended."""
    return subprocess.run(
        [sys.executable, "-c", TAG], capture_output=True, text=True, check=True
    ).stdout.strip()


def foreign_tag() -> str:
    """Of a process of another machine, container or boot; its number is that of none here."""
    _, _, started, rest = temporary_tag().split("-")
    return f"{'0' * 12}-999999999-{started}-{rest}"


def reused_tag() -> str:
    """Of a process whose number a later one has now: this one."""
    place, pid, started, rest = temporary_tag().split("-")
    return f"{place}-{pid}-{int(started) - 1}-{rest}"
