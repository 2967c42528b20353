"""Frames as another camera pose and another light would show them, fit to be encoded once.

A feature cache has no room for an image that changes at every step, so each episode's video is changed as a
whole, a few times, and every variant is encoded like the frames themselves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from s2robot.config.options import Natural, ShareBelowOne
from s2robot.utils.hashing import sha256_json


@dataclass(frozen=True)
class Augmentation:
    """How far variants are from what was recorded.

    Attributes:
        variants: of each video, beside itself; 0: none.
        shift: of the image, at most, as a share of its side; edges are repeated (DrQ's random shift).
        colour: brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour.
        seed: of all random numbers.
    """

    variants: Natural = 0
    shift: ShareBelowOne = 0.05
    colour: ShareBelowOne = 0.2
    seed: Natural = 0

    def identity(self, variant: int) -> dict[str, Any]:
        """What decides the frames of a variant: how many others there are does not."""
        return {name: value for name, value in asdict(self).items() if name != "variants"} | {
            "variant": variant
        }

    def apply(self, frames: np.ndarray, variant: int, *video: str) -> np.ndarray:
        """A variant (1, 2, ...) of a video's frames, uint8 (T, H, W, 3): all of them changed alike.

        Args:
            video: what names it, whatever store it lies in: the episode's digest and the camera.
        """
        rng = np.random.default_rng(int(sha256_json([self.identity(variant), *video])[:16], 16))
        height, width = frames.shape[1:3]
        most = (round(self.shift * height), round(self.shift * width))
        top, left = (int(rng.integers(2 * m + 1)) for m in most)
        brightness, contrast, saturation = 1 + self.colour * rng.uniform(-1, 1, 3)
        images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        images = F.pad(images, [most[1], most[0]], padding_mode="edge")  # left and right, above and below
        images = F.crop(images, top, left, height, width)
        images = F.adjust_saturation(images, saturation)
        images = F.adjust_contrast(F.adjust_brightness(images, brightness), contrast)
        return images.permute(0, 2, 3, 1).numpy()
