"""Statistics of features as lerobot keeps them: of frames per channel, from 0 to 1; of numbers per entry."""

from __future__ import annotations

from typing import Any

import numpy as np

_QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
_LEVELS = np.arange(256) / 255
_ENOUGH = 150  # px of the shorter side of which frames are counted


class Statistics:
    """Of one episode or, added up, of all of them."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[np.ndarray]] = {}
        self._levels: dict[str, np.ndarray] = {}  # int64 (3, 256): how often each value of a channel came
        self._frames: dict[str, int] = {}

    def add_numbers(self, feature: str, values: np.ndarray) -> None:
        """Adds steps, (T, D)."""
        self._numbers.setdefault(feature, []).append(values)

    def add_frames(self, feature: str, frames: np.ndarray) -> None:
        """Adds frames, uint8 (T, H, W, 3); of large ones not every pixel counts."""
        stride = max(1, min(frames.shape[1:3]) // _ENOUGH)
        pixels = frames[:, ::stride, ::stride].reshape(-1, 3)
        levels = np.stack([np.bincount(pixels[:, channel], minlength=256) for channel in range(3)])
        self._levels[feature] = self._levels.get(feature, 0) + levels
        self._frames[feature] = self._frames.get(feature, 0) + len(frames)

    def add(self, other: Statistics) -> None:
        """Adds another's numbers and frames."""
        for feature, values in other._numbers.items():
            self._numbers.setdefault(feature, []).extend(values)
        for feature, levels in other._levels.items():
            self._levels[feature] = self._levels.get(feature, 0) + levels
            self._frames[feature] = self._frames.get(feature, 0) + other._frames[feature]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Feature -> min, max, mean, std, count and quantiles, as nested lists."""
        of_frames = {name: _of_levels(levels, self._frames[name]) for name, levels in self._levels.items()}
        return of_frames | {name: _of_numbers(np.concatenate(v)) for name, v in self._numbers.items()}


def _of_numbers(values: np.ndarray) -> dict[str, Any]:
    exact = values.astype(np.float64)
    found = {"min": values.min(0), "max": values.max(0), "mean": exact.mean(0), "std": exact.std(0)}
    found |= {_name(q): np.quantile(exact, q, axis=0) for q in _QUANTILES}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(values)]}


def _of_levels(levels: np.ndarray, frames: int) -> dict[str, Any]:
    share = levels / levels.sum(1, keepdims=True)
    mean = share @ _LEVELS
    found = {
        "min": _LEVELS[(levels > 0).argmax(1)],
        "max": _LEVELS[255 - (levels[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ _LEVELS**2 - mean**2, 0)),
    }
    cumulated = share.cumsum(1)
    found |= {_name(q): _LEVELS[(cumulated >= min(q, 1 - 1e-9)).argmax(1)] for q in _QUANTILES}
    return {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()} | {"count": [frames]}


def _name(quantile: float) -> str:
    return f"q{round(quantile * 100):02d}"
