"""Replay buffers as Diffusion Policy's own scripts, and those of others, write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc


def foreign(
    path: Path,
    ends: Sequence[int],
    chunk: int | None = None,
    zarr_format: int = 2,
    **arrays: np.ndarray,
) -> Path:
    """A folder of `arrays` over the steps of all episodes; `chunk` steps a file, by default as zarr likes."""
    root = zarr.create_group(path, zarr_format=zarr_format)  # type: ignore[arg-type]
    data, meta = root.create_group("data"), root.create_group("meta")
    members = [
        (meta, "episode_ends", np.array(ends)),
        *((data, name, array) for name, array in arrays.items()),
    ]
    for group, name, array in members:
        options: dict[str, Any] = {"chunks": (chunk, *array.shape[1:])} if chunk and group is data else {}
        if zarr_format == 2:
            options["compressors"] = Blosc("lz4", 5, Blosc.NOSHUFFLE)
        group.create_array(name, data=array, config={"write_empty_chunks": True}, **options)
    return path
