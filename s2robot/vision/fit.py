"""The spatial fit: which part of a camera's frame an encoder is given, and how that becomes square images.

It is done here alone, by the feature extractor: for training, in simulation and on robots alike.
"""

from __future__ import annotations

from typing import Literal, assert_never

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from s2robot.core.errors import UserError

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a frame, as shares of its width and height."""

Fit = Literal["crop", "pad", "stretch", "tiles"]

DEFAULT_FIT: Fit = "stretch"


def check_box(box: Box, option: str = "encoder.crop") -> None:
    """Raises UserError for a box of an option that is empty or reaches out of the frame."""
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UserError(
            f"{option}={list(box)}: expected [left, top, right, bottom] as shares of the frame, "
            "0 to 1, left before right and top before bottom"
        )


def box_pixels(box: Box, frame: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box in a frame of (H, W) px: to the nearest pixel, one at least."""
    (left, top, right, bottom), (height, width) = box, frame
    return _pixels(top, bottom, height), _pixels(left, right, width)


def _pixels(first: float, last: float, count: int) -> slice:
    start = min(round(first * count), count - 1)
    return slice(start, max(round(last * count), start + 1))


def crop_frames(frames: np.ndarray, box: Box) -> np.ndarray:
    """The part of frames (B, H, W, 3) that lies in a box."""
    rows, columns = box_pixels(box, (frames.shape[1], frames.shape[2]))
    return frames[:, rows, columns]


def fit_frames(images: Tensor, fit: Fit, side: int) -> Tensor:
    """Float images (B, 3, H, W) -> square ones, or of `tiles` as they are; square images stay as they are.

    Args:
        fit: `crop` is the centre square of side min(H, W); `pad` letterboxes with black to side max(H, W);
            `stretch` resamples (bicubic) to `side`, so that the aspect ratio is lost; `tiles` leaves it to
            S² to cut each scale into as many square tiles as fit the frame's shape best.
        side: of a stretched image (px): the largest of the encoder's sizes.
    """
    height, width = images.shape[-2:]
    if height == width or fit == "tiles":
        return images
    if fit == "crop":
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        return images[..., top : top + short, left : left + short]
    if fit == "pad":
        down, right = max(0, width - height), max(0, height - width)
        return F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2))
    if fit == "stretch":
        resized = F.interpolate(images.float().contiguous(), (side, side), mode="bicubic")
        return resized.to(images.dtype)
    assert_never(fit)
