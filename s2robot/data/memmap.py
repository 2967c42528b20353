"""An array on disk, mapped when it is read: a store of any size needs few open files and little memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

_MAPPED = 256
"""Files that stay mapped, of the 1024 that Linux lets a process open at first."""


@dataclass(frozen=True)
class MappedArray:
    """An `.npy` file by its header: shape, type, and where the numbers begin."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    @classmethod
    def open(cls, path: Path) -> MappedArray:
        """Reads the header. Raises ValueError for what is no whole `.npy` file, OSError without a file."""
        array = np.load(path, mmap_mode="r")
        return cls(path, array.shape, array.dtype, int(array.offset))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice) -> np.ndarray:
        """A copy of some steps."""
        return np.array(self.mapped(index))

    def mapped(self, index: int | slice) -> np.ndarray:
        """Some steps as they lie on disk, read-only."""
        return np.asarray(_map(self.path, self.shape, self.dtype, self.offset)[index])

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


@lru_cache(_MAPPED)
def _map(path: Path, shape: tuple[int, ...], dtype: np.dtype, offset: int) -> np.memmap:
    return np.memmap(path, dtype, "r", offset, shape)


Array = np.ndarray | MappedArray


def concatenated(arrays: Sequence[Array], slices: Sequence[slice]) -> np.ndarray:
    """Some steps of each array, one after the other: copied once."""
    pairs = zip(arrays, slices, strict=True)
    return np.concatenate([a.mapped(s) if isinstance(a, MappedArray) else a[s] for a, s in pairs])
