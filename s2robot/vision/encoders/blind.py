"""An encoder that sees nothing: what a policy does without vision, all else equal."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from s2robot.core.errors import UserError
from s2robot.vision.encoders.encoder import Architecture, Encoder

NAME = "blind"


class BlindEncoder(Encoder):
    """Tokens of zeros, whatever the frame."""

    def __init__(self) -> None:
        nothing = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(nothing.weight)
        super().__init__(nothing, NAME, Architecture(width=16, depth=0, heads=0))

    def _tokens(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 1 + self.architecture.grid**2, self.width)

    def _resize(self, image_size: int) -> Architecture:
        if image_size < (patch := self.architecture.patch_size):
            raise UserError(f"image_size={image_size}: expected {patch} px or more")
        return replace(self.architecture, image_size=image_size)
