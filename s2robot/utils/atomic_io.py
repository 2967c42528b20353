"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from s2robot.utils.hashing import plain


def write_json(path: str | Path, obj: Any) -> None:
    """Writes JSON that people can read too, whole or not at all."""
    write_atomic(path, json.dumps(plain(obj), indent=1, ensure_ascii=False) + "\n")


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part. Makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(staging, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
