"""What every encoder is: a frozen vision model that takes frames and gives 1 + N tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor, nn

from s2robot.core.errors import UserError
from s2robot.vision.encoders.precision import to_bf16
from s2robot.vision.encoders.state import hash_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A ViT: width C, depth in blocks, heads, image side and patch side in px.

    Other models have a width and a grid too; depth and heads are 0 where they have none, the patch side is
    the image's by the grid's, rounded.
    """

    width: int
    depth: int
    heads: int
    image_size: int = 224
    patch_size: int = 16
    measured_grid: int | None = None

    @property
    def grid(self) -> int:
        """Patches along one side of the image; as measured, where the sides do not give it."""
        return self.measured_grid or self.image_size // self.patch_size


class Encoder(nn.Module, ABC):
    """A frozen vision model: frames in, tokens out; normalises by the model's own mean and deviation inside.

    Its parameters take no gradients, and it stays in eval mode where a parent's `train()` is called.

    Attributes:
        vit: the model.
        name: as it was asked for.
        architecture: at the image size it runs at.
        prefix_tokens: tokens before the patches: CLS alone.
        weights_sha256: of the weights as they came, whatever image size they run at.
        source_sha256: of the code that made the model, where it is none of this package's.
    """

    prefix_tokens = 1
    source_sha256: str | None = None
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vit: nn.Module,
        name: str,
        architecture: Architecture,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.vit = vit
        self.name = name
        self.architecture = architecture
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.weights_sha256 = hash_weights(vit.state_dict())
        self._freeze()

    @property
    def width(self) -> int:
        """C of a token."""
        return self.architecture.width

    def train(self, mode: bool = True) -> Encoder:
        return super().train(False)

    def _freeze(self) -> None:
        self.train(False)
        self.requires_grad_(False)

    def compute_in_bf16(self, fused: bool) -> None:
        """Computes in bf16 from now on; `fused`: see `to_bf16`."""
        to_bf16(self.vit, fused)

    def set_image_size(self, image_size: int) -> None:
        """Runs at images of another side (px) from now on.

        Raises UserError where the model cannot, and is then as it was.
        """
        if not isinstance(image_size, Integral) or isinstance(image_size, bool):
            raise UserError(f"image_size={image_size!r}: expected a whole number of px")
        if image_size == self.architecture.image_size:
            return
        self.architecture = self._resize(int(image_size))
        self._freeze()

    @abstractmethod
    def _resize(self, image_size: int) -> Architecture:
        """Fits the model to another image side (px)."""

    @abstractmethod
    def _tokens(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> (B, 1 + N, C)."""

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, 1 + N, C), CLS first, then the patches row by row.

        Args:
            images: uint8 (B, H, W, 3), or float (B, 3, H, W) in [0, 1]; H = W = `architecture.image_size`.

        Raises:
            UserError: images of another shape or type.
        """
        images = to_float(images)
        self._check(images)
        dtype = next(self.vit.parameters(), self.mean).dtype
        normalised = (images - self.mean.to(images.dtype)) / self.std.to(images.dtype)
        return self._tokens(normalised.to(dtype))

    def _check(self, images: Tensor) -> None:
        side, given = self.architecture.image_size, str(images.dtype).removeprefix("torch.")
        if images.ndim == 4 and images.shape[1:] == (3, side, side) and images.is_floating_point():
            return
        raise UserError(
            f"images of shape {tuple(images.shape)}, {given}: '{self.name}' takes "
            f"float (B, 3, {side}, {side}) or uint8 (B, {side}, {side}, 3), unless it is given an image_size"
        )


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1]; float images are returned as they are."""
    if images.dtype == torch.uint8 and images.ndim == 4:
        return images.permute(0, 3, 1, 2).float().div_(255)
    return images
