"""The spatial fit: how a camera's frame becomes the square images that an encoder takes.

It is done here alone, by the feature extractor: for training, in simulation and on robots alike.
"""

from __future__ import annotations

from typing import Literal, assert_never

import torch.nn.functional as F
from torch import Tensor

Fit = Literal["crop", "pad", "stretch", "tiles"]

DEFAULT_FIT: Fit = "stretch"


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
