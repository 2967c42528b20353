"""Where the package's own files and the user's downloads are."""

from __future__ import annotations

import os
from pathlib import Path

import s2robot


def resource(name: str) -> Path | None:
    """A file or folder inside the installed package, or beside it in a checkout; None where there is none."""
    package = Path(s2robot.__file__).resolve().parent
    places = (package / name, package.parent / name)
    return next((place for place in places if place.exists()), None)


def user_cache() -> Path:
    """Where the user's downloads lie: $S2ROBOT_CACHE, else $XDG_CACHE_HOME/s2robot, else ~/.cache/s2robot."""
    if own := os.environ.get("S2ROBOT_CACHE"):
        return Path(own).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2robot"
