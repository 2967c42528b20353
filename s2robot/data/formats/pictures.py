"""Frames as other projects keep them - channels first, grey, RGBA, floats - as uint8 (n, H, W, 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2robot.core.errors import UserError

_LEAST_SIDE = 8  # px, of a grey picture without an axis for its channel: keypoints are such arrays too


@dataclass(frozen=True)
class PictureLayout:
    """How the frames of one camera lie in an array (N, ...).

    Attributes:
        channels: 1, 3 or 4; 0: grey, without an axis for it.
        channels_first: (N, C, H, W), else (N, H, W, C).
        scale: what makes a value one from 0 to 255.
    """

    height: int
    width: int
    channels: int
    channels_first: bool = False
    scale: float = 1.0

    @classmethod
    def of(
        cls, shape: tuple[int, ...], dtype: np.dtype, sample: Callable[[], np.ndarray]
    ) -> PictureLayout | None:
        """The layout of an array (N, ...); None where it holds no pictures.

        One channel of anything but uint8 is taken for depth, which is no picture.

        Args:
            sample: some of the array, to tell floats from 0 to 1 from those from 0 to 255.
        """
        if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
            return None
        layout = _layout(shape)
        if layout is None or (layout.channels < 3 and dtype != np.uint8):
            return None
        if np.issubdtype(dtype, np.floating) and np.nanmax(sample(), initial=0) <= 1:
            return cls(layout.height, layout.width, layout.channels, layout.channels_first, 255.0)
        return layout

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self.height, self.width, 3

    def changes(self) -> list[str]:
        """In words, what is done to frames."""
        grey = "grey, repeated in three colours" if self.channels < 3 else ""
        alpha = "its fourth channel left out" if self.channels == 4 else ""
        first = "channels moved to the last axis" if self.channels_first else ""
        scaled = "numbers from 0 to 1 times 255" if self.scale != 1 else ""
        return [change for change in (grey, alpha, first, scaled) if change]

    def convert(self, frames: np.ndarray, name: str) -> np.ndarray:
        """Frames (n, ...) -> uint8 (n, H, W, 3). Raises UserError, naming the array, for other values."""
        if self.channels == 0:
            frames = frames[..., None]
        elif self.channels_first:
            frames = np.moveaxis(frames, 1, -1)
        frames = frames[..., :3]
        if frames.dtype != np.uint8:
            frames = self._to_bytes(frames, name)
        return np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:3], 3)))

    def _to_bytes(self, frames: np.ndarray, name: str) -> np.ndarray:
        low, high = frames.min(), frames.max()
        if not (low >= 0 and high * self.scale <= 255):  # not finite ones too
            top = 1 if self.scale == 255 else 255
            raise UserError(f"{name} has values from {low:g} to {high:g}: expected 0 to {top}")
        return np.rint(frames * self.scale).astype(np.uint8)


def _layout(shape: tuple[int, ...]) -> PictureLayout | None:
    if len(shape) == 3:
        height, width = shape[1:]
        return PictureLayout(height, width, 0) if min(height, width) >= _LEAST_SIDE else None
    if len(shape) != 4:
        return None
    if shape[3] in (1, 3, 4):
        return PictureLayout(shape[1], shape[2], shape[3])
    if shape[1] in (1, 3, 4):
        return PictureLayout(shape[2], shape[3], shape[1], channels_first=True)
    return None
