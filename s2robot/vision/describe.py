"""What an encoder makes of one fixed image: numbers that two machines with the same encoder share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2robot.vision.encoders.mvp import EMBEDDED
from s2robot.vision.encoders.pretrained import PRETRAINED, find_weights
from s2robot.vision.encoders.published import PUBLISHED
from s2robot.vision.encoders.registry import load_encoder

NAMES = (*EMBEDDED, *PRETRAINED, *PUBLISHED)
"""Every encoder that has a name of its own here."""


@dataclass(frozen=True)
class Moments:
    """Of tokens (n, C): mean and deviation over all values, and the mean length of a token."""

    mean: float
    std: float
    norm: float

    @classmethod
    def of(cls, tokens: Tensor) -> Moments:
        return cls(tokens.mean().item(), tokens.std().item(), tokens.norm(dim=-1).mean().item())

    def __str__(self) -> str:
        return f"mean {self.mean:+.4f} std {self.std:.4f} norm {self.norm:.3f}"


@dataclass(frozen=True)
class Description:
    """An encoder and its float32 features of `fixed_image`; `source`: where its weights are from."""

    parameters: int
    image_size: int
    weights_sha256: str
    cls: Moments
    patches: Moments
    source: str = ""

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.image_size} px, weights {self.weights_sha256[:12]}; "
            f"CLS {self.cls}; patches {self.patches}" + (f"; from {self.source}" if self.source else "")
        )


@torch.inference_mode()
def describe(name: str) -> Description:
    """The encoder of that name, at the image size it was trained at. Raises as `load_encoder`."""
    encoder = load_encoder(name)
    size = encoder.architecture.image_size
    tokens = encoder(fixed_image(size))[0]
    parameters = sum(p.numel() for p in encoder.vit.parameters())
    cls, patches = Moments.of(tokens[:1]), Moments.of(tokens[1:])
    source = find_weights(name).words if name in PRETRAINED else ""
    return Description(parameters, size, encoder.weights_sha256, cls, patches, source)


def fixed_image(size: int) -> Tensor:
    """uint8 (1, size, size, 3), of whole numbers alone: a ramp to the right, one down, a board of 32 px."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    board = (row // 32 + column // 32) % 2 * 255
    return torch.stack([column * 255 // size, row * 255 // size, board], dim=-1).to(torch.uint8)[None]
