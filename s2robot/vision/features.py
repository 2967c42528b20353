"""From camera frames to the features a policy sees: one path for the cache and for rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from s2robot.core.errors import UserError
from s2robot.utils.provenance import has_bf16, sha256_json
from s2robot.vision.encoders.mvp import load_encoder, to_float
from s2robot.vision.encoders.precision import COMPUTE, to_bf16
from s2robot.vision.s2 import multiscale_forward
from s2robot.vision.scales import Options

_TILES = 10  # a forward: more leave the processor's cache
_RECIPE = 1  # raise when anything below changes what comes out for the same encoder and sizes


class FeatureExtractor:
    """A frozen encoder over several image scales; features leave as float16.

    Args:
        name, checkpoint: as for `load_encoder`.
        sizes: image scales of S² in px; one of them is a plain single-scale encoder.
        bf16: compute type, float32 otherwise; default where the device has it.
        device: where it computes. A GPU's process must not render.
        compiled: by torch.compile, at the first call of each batch size; on a GPU into CUDA graphs.
    """

    def __init__(
        self,
        name: str,
        sizes: Sequence[int],
        checkpoint: str | None = None,
        bf16: bool | None = None,
        *,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self.sizes = tuple(sizes)
        if not self.sizes:
            raise UserError("no image scales: expected encoder.sizes of at least one, such as [224]")
        self.encoder = load_encoder(name, checkpoint)
        # As in the paper the first scale is the tile; an encoder of larger images runs at that.
        if min(self.sizes) < self.encoder.architecture.image_size:
            self.encoder.set_image_size(min(self.sizes))
        self._tile = self.encoder.architecture.image_size
        self.device = torch.device(device)
        self.bf16 = computes_in_bf16(device) if bf16 is None else bf16
        if self.bf16:
            to_bf16(self.encoder.vit, fused=self.device.type != "cpu")
        self.encoder.to(self.device)
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._run = torch.compile(self._forward, mode=mode) if compiled else self._forward

    @property
    def shape(self) -> tuple[int, int]:
        """(1 + N, C) of one frame's features: CLS, then N patches row by row; scales side by side in C."""
        return 1 + self.encoder.architecture.grid**2, self.encoder.width * len(self.sizes)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the features of a frame."""
        return {
            "weights_sha256": self.encoder.weights_sha256,
            "sizes": list(self.sizes),
            "tile": self._tile,
            "compute": COMPUTE if self.bf16 else "fp32",
            "recipe": _RECIPE,
        }

    @property
    def key(self) -> str:
        """16 hex digits of `identity`: names a feature cache."""
        return sha256_json(self.identity)[:16]

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, 3) -> float16 (B, 1 + N, C); what is not square is resized to a square.

        Raises UserError for frames so long that S² would see more than one tile at its first scale.
        """
        height, width = frames.shape[1:3]
        if 2 * max(height, width) >= 3 * min(height, width):
            raise UserError(
                f"frames of {height} x {width} px: a policy's features are of a square image; "
                "expected sides of a ratio below 1.5: crop the camera's frames"
            )
        images = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        parts = images.split(self._frames_at_once(len(images)))
        return torch.cat([self._run(part).to(torch.float16).cpu() for part in parts]).numpy()

    def _frames_at_once(self, frames: int) -> int:
        """On a processor so many that none of what is computed on the way leaves its cache."""
        if self.device.type != "cpu":
            return frames
        grids = Options(self.sizes, self._tile).grids(1, 1)
        return max(1, _TILES // sum(grid.rows * grid.columns for grid in grids))

    def _forward(self, frames: torch.Tensor) -> torch.Tensor:
        return multiscale_forward(
            self.encoder,
            to_float(frames),
            self.sizes,
            tile=self._tile,
            prefix_tokens=self.encoder.prefix_tokens,
            max_tiles=_TILES if self.device.type == "cpu" else None,
        )


def computes_in_bf16(device: str) -> bool:
    """Whether `device` computes in bf16, and more quickly than in float32."""
    return torch.cuda.is_bf16_supported() if torch.device(device).type == "cuda" else has_bf16()
