"""Errors of heads that are trained already, in the advice's folder: what was broken off goes on there."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.hashing import sha256_json


@dataclass(frozen=True)
class HeadCache:
    """Arrays by what decides them.

    Attributes:
        folder: where they lie; None keeps none.
        common: what decides all of them.
    """

    folder: Path | None
    common: Mapping[str, Any]

    def get(self, own: Mapping[str, Any], make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array that `own` and `common` decide: the one that is there, or a new one, kept.

        Raises UserError for a damaged one, and where the disk refuses.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{sha256_json({**self.common, **own})[:24]}.npy"
        if path.is_file():
            return _read(path)
        array, content = make(), io.BytesIO()
        np.save(content, array, allow_pickle=False)
        with disk_errors(f"write {path}"):
            write_atomic(path, content.getvalue())
        return array


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and its head is trained again") from error
