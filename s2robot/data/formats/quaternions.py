"""Quaternions of one sign: q and -q are one rotation, and a policy must not see both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from s2robot.core.spec import RobotSpec
    from s2robot.data.episode import Episode


def of_one_sign(quaternions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Quaternions (T, 4) of an episode: none jumps, the first is in the half-space of a reference (4,)."""
    if not len(quaternions):
        return quaternions
    products = (quaternions * np.concatenate([reference[None], quaternions[:-1]])).sum(axis=1)
    signs = np.cumprod(np.where(products < 0, -1, 1))
    return quaternions * signs[:, None].astype(quaternions.dtype)


class QuaternionSigns:
    """Gives the quaternions of all imported episodes one sign, by where the first episode begins."""

    def __init__(self, spec: RobotSpec) -> None:
        self._labels = {"proprio": spec.proprio, "action": spec.action, "action_applied": spec.action}
        self._references: dict[int, np.ndarray] = {}
        self._changed: set[str] = set()

    def align(self, episode: Episode) -> None:
        """Changes an episode's quaternions in place, each where it jumps or begins on the other side."""
        for name, labels in self._labels.items():
            array = getattr(episode, name)
            for columns in quaternion_columns(labels, array):
                before = array[:, columns].copy()
                array[:, columns] = of_one_sign(before, self._reference(name, columns, before[0]))
                if not np.array_equal(before, array[:, columns]):
                    self._changed.add(f"{name} {labels[columns.start]}")

    def lines(self) -> list[str]:
        """What the summary says of it."""
        if not self._changed:
            return []
        named = ", ".join(sorted(self._changed))
        return [f"  kept: the rotations of {named} ..., with signs that neither jump nor differ by episode"]

    def _reference(self, name: str, columns: slice, first: np.ndarray) -> np.ndarray:
        """Of an action and what was applied, that of the action."""
        key = -1 - columns.start if name == "proprio" else columns.start
        sign = 1 if first[np.abs(first).argmax()] > 0 else -1
        return self._references.setdefault(key, sign * first)


def quaternion_columns(labels: Sequence[str], values: np.ndarray) -> list[slice]:
    """Where four entries side by side are a quaternion: named so, and of length 1 at every step (T, D)."""
    found, start = [], 0
    while start + 4 <= len(labels):
        columns = slice(start, start + 4)
        named = all("quat" in label.lower() for label in labels[columns])
        if named and np.allclose(np.linalg.norm(values[:, columns], axis=1), 1, atol=1e-3):
            found.append(columns)
            start += 4
        else:
            start += 1
    return found
