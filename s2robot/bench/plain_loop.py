"""S² as one writes it down first: scale by scale, tile by tile into a batch, in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s2robot.vision.features import FeatureExtractor


def plain_loop(extractor: FeatureExtractor) -> Callable[[np.ndarray], np.ndarray]:
    """The same features as `extractor`'s, one forward a scale (the way of the paper's published code)."""
    encoder, tile = extractor.encoder, extractor.encoder.architecture.image_size

    @torch.inference_mode()
    def run(frames: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(frames).to(extractor.device).permute(0, 3, 1, 2).float() / 255
        classes, maps = [], []
        for size in extractor.sizes:
            scaled = F.interpolate(images, (size, size), mode="bicubic")
            token, feature_map = _one_scale(encoder, scaled, tile)
            classes.append(token)
            maps.append(feature_map)
        maps = [F.interpolate(m, extractor.map_shape()[:2], mode="area") for m in maps]
        patches = torch.cat(maps, 1).flatten(2).transpose(1, 2)
        return torch.cat([torch.cat(classes, -1), patches], 1).half().cpu().numpy()

    return run


def _one_scale(encoder: Callable[[Tensor], Tensor], images: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """CLS (B, 1, C), averaged over the tiles, and the feature map (B, C, h, w) of all of them."""
    count = images.shape[-1] // tile
    tiles = [t for row in images.chunk(count, 2) for t in row.chunk(count, 3)]
    tokens = encoder(torch.cat(tiles))
    side = int((tokens.shape[1] - 1) ** 0.5)
    grids = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side)).chunk(count**2)
    rows = [torch.cat(grids[i * count : (i + 1) * count], 3) for i in range(count)]
    return torch.stack(tokens[:, :1].chunk(count**2)).mean(0), torch.cat(rows, 2)
