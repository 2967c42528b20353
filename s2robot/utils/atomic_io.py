"""Files written whole or not at all."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.utils.hashing import plain
from s2robot.utils.processes import is_left_over, temporary_tag


def write_json(path: str | Path, obj: Any) -> None:
    """Writes JSON that people can read too, whole or not at all."""
    write_atomic(path, json.dumps(plain(obj), indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path, mend: str) -> dict[str, Any]:
    """Names and values of a JSON file that s2robot wrote.

    Raises UserError where it cannot be read or holds anything else; `mend` says what to do then.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): {mend}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} is damaged (it holds {type(content).__name__}, not names and values): {mend}"
        )
    return content


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part. Makes its folder."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as staging:
        staging.write_bytes(data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write a file to, which takes its place on leaving. Makes the folder.

    After an error nothing is left of it; what a killed process left is removed by the next to write the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if is_left_over(left.name):
            left.unlink(missing_ok=True)
    staging = path.with_name(f".{path.name}.{temporary_tag()}")
    try:
        yield staging
        with staging.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
