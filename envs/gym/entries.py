"""Another environment's observation, entry by entry: found by name, sliced, joined, turned into frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.errors import UserError

WHOLE = "observation"
"""The name of an observation that is no dict."""
_SELECTED = re.compile(r"(?P<name>.*?)(\[(?P<which>[^\[\]]*)\])?")
_CHANNELS = (1, 3, 4)

Box = gymnasium.spaces.Box


@dataclass(frozen=True)
class Entry:
    """One array of an observation: the keys that lead to it, and its space."""

    keys: tuple[str, ...]
    space: Box

    @property
    def name(self) -> str:
        """`agent_pos`, or of nested dicts `robot/agent_pos`."""
        return "/".join(self.keys) or WHOLE

    def __str__(self) -> str:
        return f"{self.name} {self.space.shape} {self.space.dtype}"

    def read(self, observation: Any) -> np.ndarray:
        for key in self.keys:
            observation = observation[key]
        return np.asarray(observation)


def entries_of(space: gymnasium.Space[Any], keys: tuple[str, ...] = ()) -> list[Entry]:
    """The arrays of an observation space; what is neither array nor dict is left out."""
    if isinstance(space, gymnasium.spaces.Dict):
        return [entry for key, part in space.items() for entry in entries_of(part, (*keys, key))]
    return [Entry(keys, space)] if isinstance(space, Box) else []


@dataclass(frozen=True)
class Vector:
    """Numbers of an observation, joined to one float32 vector.

    Attributes:
        parts: entries, and which numbers of each.
        names: one for each number.
    """

    parts: tuple[tuple[Entry, tuple[int, ...]], ...]
    names: tuple[str, ...]

    @classmethod
    def select(cls, entries: Sequence[Entry], wanted: Sequence[str], names: Sequence[str] | None) -> Vector:
        """`["agent_pos", "state[:2]", "state[4,6:8]"]`, each number named after its entry without `names`.

        Raises UserError for nothing, an unknown entry, numbers it does not have, and another count of names.
        """
        if not wanted:
            raise UserError("none is given")
        parts = tuple(_part(entries, text) for text in wanted)
        own = [f"{entry.name} {i}" for entry, which in parts for i in which]
        if names is not None and len(names) != len(own):
            raise UserError(f"{len(names)} names for {len(own)} numbers ({', '.join(own)})")
        return cls(parts, tuple(own if names is None else names))

    @property
    def space(self) -> Box:
        low, high = (self._join(lambda e, bound=bound: getattr(e.space, bound)) for bound in ("low", "high"))
        return Box(low, high, dtype=np.float32)

    def read(self, observation: Any) -> np.ndarray:
        return self._join(lambda entry: entry.read(observation))

    def _join(self, read: Callable[[Entry], np.ndarray]) -> np.ndarray:
        numbers = [read(entry).reshape(-1)[list(which)] for entry, which in self.parts]
        return np.concatenate(numbers).astype(np.float32)


def find_entry(entries: Sequence[Entry], name: str) -> Entry:
    """The entry of this name. Raises UserError where there is none."""
    found = next((entry for entry in entries if entry.name == name), None)
    if found is None:
        raise UserError(f"it has no entry '{name}'")
    return found


def to_frame(array: np.ndarray) -> np.ndarray:
    """A copy of an image as uint8 (H, W, 3): grey is repeated, alpha dropped, channels may come first.

    Raises UserError for what is no uint8 image.
    """
    given = f"{array.shape} {array.dtype}"
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[-1] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in _CHANNELS:
        raise UserError(f"{given} is no image: expected uint8 (H, W, 3)")
    return np.repeat(array, 3, -1) if array.shape[-1] == 1 else array[..., :3].copy()


def frame_of(entry: Entry, observation: Mapping[str, Any] | np.ndarray) -> np.ndarray:
    """The image that an entry holds, as `to_frame`."""
    return to_frame(entry.read(observation))


def _part(entries: Sequence[Entry], text: str) -> tuple[Entry, tuple[int, ...]]:
    """`state[:2]` -> the entry and (0, 1)."""
    by_name = {entry.name: entry for entry in entries}
    if text in by_name:  # a name may hold brackets itself
        entry, which = by_name[text], None
    else:
        found = _SELECTED.fullmatch(text)
        assert found is not None
        entry, which = find_entry(entries, found["name"]), found["which"]
    size = int(np.prod(entry.space.shape))
    if which is None:
        return entry, tuple(range(size))
    try:
        return entry, tuple(i for part in which.split(",") for i in _indices(part.strip(), size))
    except (ValueError, IndexError):
        raise UserError(
            f"{text} takes no part of the {size} numbers of {entry.name}: expected e.g. {entry.name}[:2]"
        ) from None


def _indices(text: str, size: int) -> Sequence[int]:
    """Of `3`, `-1`, `:2` or `4:8:2`. Raises ValueError or IndexError for another text, or none of them."""
    if ":" not in text:
        return [range(size)[int(text)]]
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    if len(bounds) > 3 or (bounds[1] or 0) > size or not (chosen := range(size)[slice(*bounds)]):
        raise IndexError(text)
    return chosen
