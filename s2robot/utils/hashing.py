"""Identities: files, folders and JSON values hashed and compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError


def sha256_file(path: str | Path) -> str:
    """The hash of a file's bytes (hex)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(path: str | Path, patterns: Iterable[str] = ("**/*",)) -> str:
    """The hash (hex) of the relative names and contents of a folder's files that match any of the patterns.

    Raises UserError where no file matches: the hash of nothing would vouch for nothing.
    """
    folder, patterns = Path(path), tuple(patterns)
    files = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    if not files:
        raise UserError(f"{folder}: no file matches {', '.join(patterns)}")
    return sha256_json({file.relative_to(folder).as_posix(): sha256_file(file) for file in files})


def sha256_json(obj: Any) -> str:
    """The hash (hex) of a JSON-able value, whatever the order of its keys."""
    text = json.dumps(plain(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def first_difference(kept: Any, asked: Any, name: str = "") -> str | None:
    """`another n_action_steps (2, not 4)`: the first leaf in which two trees of JSON differ."""
    if kept == asked:
        return None
    if not (isinstance(kept, dict) and isinstance(asked, dict)):
        return f"another {name} ({kept}, not {asked})" if name else "another identity"
    for key in dict.fromkeys([*asked, *kept]):
        found = first_difference(kept.get(key), asked.get(key), key)
        if found:
            return found
    return None


def plain(obj: Any) -> Any:
    """Mappings, sequences, paths and array numbers as JSON knows them; NaN and infinity become None."""
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, Sequence) and not isinstance(obj, str):
        return [plain(value) for value in obj]
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Path):
        return str(obj)
    to_list = getattr(obj, "tolist", None)
    return obj if to_list is None else plain(to_list())
