"""What an environment's `info` says of an episode: whether it succeeded, and how far it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from s2robot.core.errors import UserError

_USUAL = ("is_success", "success")
_TERMINATED = "terminated"


class SuccessReader:
    """Reads success from `info`, or from `terminated` where that is asked for.

    `key` None: the usual entries. An entry may come at the last step alone; one that never comes is a
    mistake, not a failure.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._keys = _USUAL if key is None else (key,)
        self.reset()

    def reset(self) -> None:
        """A new episode begins."""
        self._was_told = False

    def read(self, info: Mapping[str, Any], terminated: bool, *, ended: bool) -> bool:
        """Whether this step succeeded. Raises UserError where the episode ends and nothing has told."""
        if self._key == _TERMINATED:
            return bool(terminated)
        found = [_true_or_false(key, info[key]) for key in self._keys if key in info]
        self._was_told = self._was_told or bool(found)
        if ended and not self._was_told:
            raise UserError(
                f"env.success={self._key or 'null'}: info never held {' or '.join(self._keys)}; "
                f"it holds {', '.join(info) or 'nothing'}: give env.success=ENTRY, or env.success=terminated "
                "where termination is success"
            )
        return bool(found) and found[0]


class ProgressReader:
    """Reads progress (0 to 1) from an entry of `info`; None: it is not told."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def read(self, info: Mapping[str, Any]) -> dict[str, float]:
        """`{"progress": ...}`, empty where none is told. Raises UserError for a value that is none."""
        if self._key is None:
            return {}
        if self._key not in info:
            raise UserError(f"env.progress={self._key}: info holds {', '.join(info) or 'nothing'}")
        value = info[self._key]
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not 0 <= number <= 1:
            raise UserError(f"env.progress={self._key}: it is {value}: expected 0 to 1")
        return {"progress": number}


def _true_or_false(key: str, value: Any) -> bool:
    array = np.asarray(value)
    if array.dtype.kind in "biuf" and array.size == 1 and array.item() in (0, 1):
        return bool(array.item())
    raise UserError(f"env.success={key}: info['{key}'] is {value}: expected true or false")
