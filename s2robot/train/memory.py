"""Features read into memory once, where they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from s2robot.core.errors import UserError
from s2robot.data.dataset import EpisodeFeatures
from s2robot.data.memmap import Array

_SHARE = 0.8  # of what is free: training needs some too


def into_memory(episodes: Sequence[EpisodeFeatures]) -> list[EpisodeFeatures]:
    """The same episodes with their features in memory. Raises UserError where these do not fit."""
    needed = sum(
        array.nbytes
        for episode in episodes
        for part in (episode.features, *episode.variants)
        for array in part.values()
    )
    free = available()
    if needed > _SHARE * free:
        raise UserError(
            f"in_memory=true: the features take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are "
            "free: leave it out, and they are read from disk"
        )
    return [
        replace(episode, features=_read(episode.features), variants=tuple(map(_read, episode.variants)))
        for episode in episodes
    ]


def available() -> int:
    """Bytes of memory that a new process could have, as Linux estimates it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _read(features: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.array(array[:]) for name, array in features.items()}
