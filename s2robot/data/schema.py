"""The root group of a demo store: its schema, and what is said where there is none."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from s2robot import __version__
from s2robot.core.errors import UserError
from s2robot.data.durable import STAGING
from s2robot.data.episode import MARKER
from s2robot.data.files import Files, LocalFiles
from s2robot.data.seal import DIGEST, unsealed

SCHEMA = "s2robot-demos"
SCHEMA_VERSION = 2


def root_attributes(files: Files, check: bool = True) -> dict[str, Any]:
    """The attributes of a demo store's root group.

    Raises UserError where there is no demo store, or one of another schema version, and where `check` asks
    for it, one whose root was edited.
    """
    root = _attributes(files)
    if root is None:
        raise UserError(_not_a_store(files))
    found = root.get("schema_version")
    if found != SCHEMA_VERSION:
        raise UserError(
            f"{files} is a demo store of schema version {found}, s2robot {__version__} reads version "
            f"{SCHEMA_VERSION} only; it was written with {root.get('created_with')}"
        )
    if check and (edit := root_edit(files)):
        raise UserError(
            f"{files}/{MARKER} is damaged ({edit}): put back what it said of the robot and the recording"
        )
    return {name: value for name, value in root.items() if name != DIGEST}


def root_edit(files: Files) -> str | None:
    """In words, that a store's root group was edited after it was written."""
    try:
        unsealed(_attributes(files) or {})
    except ValueError as error:
        return str(error)
    return None


def new_root(spec: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a new store's root group: the creator's own, and what says what it is."""
    return {
        **attributes,
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "robot_spec": spec,
        "created_with": _versions(),
    }


def check_vacant(path: Path) -> None:
    """Raises UserError where a path holds anything already, or lies inside a demo store."""
    files = LocalFiles(path)
    for parent in path.absolute().parents:
        if _attributes(LocalFiles(parent)):
            raise UserError(f"{path} lies inside the demo store {parent}: name a folder outside of it")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: a demo store needs a new or empty folder")
    if _attributes(files):
        raise UserError(f"{path} is a demo store already: open it, or name another folder")
    found = sorted(files.names("") - {STAGING})  # a creator killed in the act leaves only that
    if found:
        more = ", ..." if len(found) > 5 else ""
        raise UserError(f"{path} is not empty, it holds {', '.join(found[:5])}{more}: name another folder")


def _attributes(files: Files) -> dict[str, Any] | None:
    """The attributes of the demo store that the files are; None where they are none."""
    try:
        attributes = dict(json.loads(files.read(MARKER))["attributes"])
    except (ValueError, TypeError, LookupError, OSError):  # no file, or one that is not a group's
        return None
    return attributes if attributes.get("schema") == SCHEMA else None


def _not_a_store(files: Files) -> str:
    what = f"{files} is not a demo store: its {MARKER} is missing or does not say {SCHEMA}"
    if not isinstance(files, LocalFiles):
        return what
    if not files.root.exists():
        what = f"no demo store at {files}: the path does not exist"
    return f"{what}; {_stores_near(files.root)}"


def _stores_near(path: Path) -> str:
    """The demo stores in a folder or, where it does not exist, in the nearest folder above that does."""
    folder = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    markers = folder.glob(f"*/{MARKER}")
    stores = sorted(m.parent.name for m in markers if _attributes(LocalFiles(m.parent)))
    return f"demo stores in {folder}: {', '.join(stores) or '(none)'}"


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "zarr")}
    return {"s2robot": __version__, "python": platform.python_version(), **packages}
