"""Zarr groups in folders and zips, and whether all of their files are there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import ZipStore

from s2robot.core.errors import UserError


def open_root(source: Path) -> zarr.Group:
    """The root group of a folder or zip, of Zarr v2 or v3."""
    return zarr.open_group(ZipStore(source, mode="r") if source.is_file() else source, mode="r")


def register_image_codecs() -> None:
    """Makes the codecs of UMI's frames (JPEG XL and others) known to zarr, if imagecodecs is installed."""
    try:
        from imagecodecs.numcodecs import register_codecs  # type: ignore[import-not-found]
    except ImportError:
        return
    register_codecs(verbose=False)


def check_chunks(source: Path, arrays: Sequence[zarr.Array], ours: bool) -> None:
    """Raises UserError naming the first chunk without a file, which zarr reads as zeros without a word.

    Args:
        ours: written by s2robot, which leaves no chunk out.
    """
    in_zip = set(zipfile.ZipFile(source).namelist()) if source.is_file() else None
    for array in arrays:
        absent = _chunks(array) - (_below(source, array.path) if in_zip is None else in_zip)
        if absent:
            more = f", and {len(absent) - 1} more of {array.path}" if len(absent) > 1 else ""
            why = (
                ""
                if ours
                else (
                    ": lost, or zeros that its writer left out (+options.missing_as_zeros=true reads zeros)"
                )
            )
            raise UserError(f"{source}: {min(absent)} is missing{more}{why}")


def _below(source: Path, name: str) -> set[str]:
    """The relative names of all files below a folder; symbolic links are followed."""
    walked = os.walk(source / name, followlinks=True)
    return {
        Path(parent, file).relative_to(source).as_posix() for parent, _, files in walked for file in files
    }


def _chunks(array: zarr.Array) -> set[str]:
    """The names of the files that an array is made of: of chunks or, where it has them, of shards."""
    of_a_file = array.shards or array.chunks
    counts = (-(-size // chunk) for size, chunk in zip(array.shape, of_a_file, strict=True))
    return {f"{array.path}/{array.metadata.encode_chunk_key(at)}" for at in np.ndindex(*counts)}
