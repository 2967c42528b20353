"""Frames as another camera pose and another light would show them, fit to be encoded once.

A feature cache has no room for an image that changes at every step, so each episode's video is changed as a
whole, a few times, and every variant is encoded like the frames themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Le
from torchvision.transforms.v2 import functional as F

from s2robot.config.options import Natural, NonNegative, ShareBelowOne
from s2robot.utils.hashing import sha256_json

_OF_REAL = 2  # variants by default, where demos are not of a simulation
_HUE = 0.1  # of `colour`, in turns of the colour wheel


@dataclass(frozen=True)
class Augmentation:
    """How far variants are from what was recorded; 0 turns an option off.

    Attributes:
        variants: of each video, beside itself; 0: none. None: decided by `resolve`.
        shift: of the image, at most, as a share of its side; edges are repeated (DrQ's random shift).
        crop: share of each side that is cut off at most; the rest is enlarged to the frame's size. Both move
            what is seen and not what it means: off by default, for a camera that stands still.
        colour: brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour, and hues
            turn by at most a tenth of it of the colour wheel.
        light: brightness at the image's sides is multiplied by 1 - light to 1 + light, in a smooth gradient
            in one direction or around one point; gamma lies between 1 / (1 + light) and 1 + light.
        blur: standard deviation of a Gaussian, at most, as a share of the image's short side.
        seed: of all random numbers.
    """

    variants: Natural | None = None
    shift: ShareBelowOne = 0.0
    crop: ShareBelowOne = 0.0
    colour: ShareBelowOne = 0.2
    light: ShareBelowOne = 0.3
    blur: Annotated[NonNegative, Le(0.1)] = 0.005
    seed: Natural = 0

    @property
    def numbers(self) -> range:
        """Those of the variants, from 1."""
        return range(1, 1 + (self.variants or 0))

    def resolve(self, simulated: bool) -> tuple[Augmentation, str | None]:
        """With its number of variants, by where the demos are from, and a remark where that makes any.

        A simulation has the same cameras and lamps in rollouts; a robot has not.
        """
        if self.variants is not None:
            return self, None
        if simulated:
            return replace(self, variants=0), None
        remark = f"{_OF_REAL} variants of each frame, as these demos are not of a simulation"
        return replace(self, variants=_OF_REAL), f"{remark}: augment.variants=0 for none"

    def identity(self, variant: int) -> dict[str, Any]:
        """What decides the frames of a variant: neither how many others there are nor what is off does."""
        plain = {"shift": self.shift, "colour": self.colour, "seed": self.seed, "variant": variant}
        further = {"crop": self.crop, "hue": _HUE * self.colour, "light": self.light, "blur": self.blur}
        return plain | {name: value for name, value in further.items() if value}

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
        if self.crop:
            images = _cropped(images, self.crop, rng)
        if self.light:
            images = _lit(images, self.light, rng)
        if self.colour:
            images = F.adjust_saturation(images, saturation)
            images = F.adjust_contrast(F.adjust_brightness(images, brightness), contrast)
            images = F.adjust_hue(images, _HUE * self.colour * rng.uniform(-1, 1))
        if self.blur:
            images = _blurred(images, self.blur, rng)
        return images.permute(0, 2, 3, 1).numpy()


def _cropped(images: torch.Tensor, crop: float, rng: np.random.Generator) -> torch.Tensor:
    """A part of the images (T, 3, H, W) in their aspect ratio, at their size."""
    height, width = images.shape[-2:]
    kept = 1 - crop * rng.uniform()
    part = (max(1, round(kept * height)), max(1, round(kept * width)))
    top, left = int(rng.integers(height - part[0] + 1)), int(rng.integers(width - part[1] + 1))
    return F.resized_crop(images, top, left, *part, [height, width])


def _lit(images: torch.Tensor, light: float, rng: np.random.Generator) -> torch.Tensor:
    """The images (T, 3, H, W) in light that comes from one side or from one point."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    if rng.uniform() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        field = x * math.cos(angle) + y * math.sin(angle)
    else:
        column, row = rng.uniform(-1, 1, 2)
        field = torch.hypot(x - column, y - row)
        field = 1 - 2 * field / field.max().clamp(min=1e-6)
    field = 1 + light * rng.uniform(-1, 1) * field / field.abs().max().clamp(min=1e-6)
    lit = (F.to_dtype(images, torch.float32, scale=True) * field).clamp(0, 1)
    return F.to_dtype(F.adjust_gamma(lit, (1 + light) ** rng.uniform(-1, 1)), torch.uint8, scale=True)


def _blurred(images: torch.Tensor, blur: float, rng: np.random.Generator) -> torch.Tensor:
    """The images (T, 3, H, W) out of focus; rows and columns apart, which costs less than both at once."""
    height, width = images.shape[-2:]
    sigma = max(blur * min(height, width) * rng.uniform(), 0.01)  # px; below, nothing is mixed
    reach = math.ceil(2 * sigma)
    images = images.contiguous(memory_format=torch.channels_last)  # four times as fast
    for columns, rows in ((min(reach, width - 1), 0), (0, min(reach, height - 1))):
        images = F.gaussian_blur(images, [2 * columns + 1, 2 * rows + 1], [sigma, sigma])
    return images
