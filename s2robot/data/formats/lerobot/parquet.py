"""Parquet files as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from s2robot.core.errors import UserError


def arrow() -> ModuleType:
    """pyarrow, with its module `parquet`. Raises UserError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError('LeRobot datasets need an extra: pip install "s2robot[lerobot]"') from error
    return pyarrow


@contextmanager
def reading(file: Path, root: Path) -> Iterator[None]:
    """Turns what damaged files raise into a UserError that names the file below `root`."""
    pa = arrow()
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        where = file.relative_to(root)
        if not file.exists():
            raise UserError(f"{where} is missing") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {where}: {reason}") from error


def read_rows(file: Path, root: Path, leave_out: str = "") -> list[dict[str, Any]]:
    """All rows of a small file as dicts, but for columns whose name begins with `leave_out`."""
    with reading(file, root):
        parquet = arrow().parquet.ParquetFile(file)
        names = [n for n in parquet.schema_arrow.names if not (leave_out and n.startswith(leave_out))]
        return parquet.read(columns=names).to_pylist()


class DataFile:
    """The numbers of the episodes in one file, in memory; its frames stay on disk.

    Args:
        root: of the dataset, for messages.
        names: of the columns to read; Raises UserError for one that is missing.
    """

    def __init__(self, file: Path, root: Path, names: Sequence[str]) -> None:
        self.path = file
        self._where = str(file.relative_to(root))
        with reading(file, root):
            parquet = arrow().parquet.ParquetFile(file)
            for name in names:
                if name not in parquet.schema_arrow.names:
                    raise UserError(f"{self._where} has no column {name}")
            self._table = parquet.read(columns=list(names))
        self._episodes = self.numbers("episode_index", slice(None))[:, 0]

    def rows(self, episode: int) -> slice:
        """Where an episode lies in the file. Raises UserError where it does not, or not in one piece."""
        found = np.flatnonzero(self._episodes == episode)
        if not len(found):
            raise UserError(f"{self._where} has no row of it")
        if found[-1] - found[0] + 1 != len(found):
            raise UserError(f"{self._where}: its rows do not follow each other")
        return slice(int(found[0]), int(found[-1]) + 1)

    def numbers(self, name: str, rows: slice) -> np.ndarray:
        """A column of numbers or of lists of numbers, (T, D). Raises UserError for any other."""
        column = self._table.column(name)[rows]
        values = _flat(column.combine_chunks(), f"{self._where}: {name}")
        return values.reshape(len(column), -1)


def _flat(array: Any, where: str) -> np.ndarray:
    """All numbers of an array whose lists are equally long, one after the other; null is nan."""
    pa = arrow()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if (
        pa.types.is_list(array.type)
        or pa.types.is_large_list(array.type)
        or pa.types.is_fixed_size_list(array.type)
    ):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        if array.null_count or len(set(lengths)) > 1:
            raise UserError(f"{where}: its lists differ in length")
        return _flat(array.flatten(), where)
    if not (
        pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)
    ):
        raise UserError(f"{where} holds {array.type}, expected numbers")
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    return array.to_numpy(zero_copy_only=False)
