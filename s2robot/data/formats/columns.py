"""Which columns of which arrays make up proprioception or action: `state`, `state[:2]`, `pose[0,2:5]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2robot.core.errors import UserError, unknown

_SELECTION = re.compile(r"(?P<name>.+?)\[(?P<columns>[^\[\]]*)\]")


@dataclass(frozen=True)
class Columns:
    """Some columns of one array.

    Attributes:
        array: (N, D), or (N,), whose only column is 0.
        indices: of the columns.
    """

    name: str
    array: Any
    indices: tuple[int, ...]

    @classmethod
    def whole(cls, name: str, array: Any) -> Columns:
        """All columns of an array."""
        return cls(name, array, tuple(range(width(array))))

    def labels(self) -> tuple[str, ...]:
        """`state[0]`, `state[1]`, ...; of an array (N,) its name."""
        if self.array.ndim == 1:
            return (self.name,)
        return tuple(f"{self.name}[{i}]" for i in self.indices)

    def take(self, values: np.ndarray) -> np.ndarray:
        """These columns of some steps of the array: (n, columns)."""
        return values.reshape(len(values), -1)[:, list(self.indices)]


def width(array: Any) -> int:
    """The number of columns."""
    return 1 if array.ndim == 1 else array.shape[1]


def select_columns(texts: Sequence[str], arrays: Mapping[str, Any], option: str = "proprio") -> list[Columns]:
    """The columns that texts such as `state[:2]` name, indexed as Python does.

    Args:
        option: that gave the texts, for messages.

    Raises UserError for an unknown array, a column that it does not have, no column, and one named twice.
    """
    chosen = [_select(text, arrays, option) for text in texts]
    columns = [(c.name, i) for c in chosen for i in c.indices]
    if len(set(columns)) < len(columns):
        twice = next(c for c in columns if columns.count(c) > 1)
        raise UserError(f"{option}=[{', '.join(texts)}]: column {twice[1]} of {twice[0]} is named twice")
    return chosen


def _select(text: str, arrays: Mapping[str, Any], option: str) -> Columns:
    match = None if text in arrays else _SELECTION.fullmatch(text)
    name = match["name"] if match else text
    if name not in arrays:
        raise unknown(f"array for {option}", name, sorted(arrays))
    if not match:
        return Columns.whole(name, arrays[name])
    count = width(arrays[name])
    indices = [
        i for part in match["columns"].split(",") for i in _indices(part.strip(), count, f"{option}={text}")
    ]
    if not indices:
        raise UserError(f"{option}={text}: no column is left, {name} has {count}")
    return Columns(name, arrays[name], tuple(indices))


def _indices(part: str, count: int, text: str) -> list[int]:
    """The columns that `2`, `-1`, `:3` or `1:7:2` name."""
    try:
        bounds = [int(b) if b.strip() else None for b in part.split(":")]
        if len(bounds) == 1:
            return [range(count)[bounds[0]]]  # type: ignore[index]
        return list(range(count)[slice(*bounds)])
    except (ValueError, TypeError) as error:
        raise UserError(f"{text}: expected columns such as [0], [:2] or [0,3:5]") from error
    except IndexError as error:
        raise UserError(f"{text}: it has {count} columns, 0 to {count - 1}") from error
