"""S² written down one image, one scale and one tile at a time: what `multiscale_forward` must equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 4
Model = Callable[[Tensor], Tensor]


class SmallModel(nn.Module):
    """Patches mixed with each other and with their place; prefix tokens made of the whole tile."""

    def __init__(self, layout: str, prefix_tokens: int, channels: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Conv2d(3, channels, PATCH, PATCH)
            self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.layout, self.prefix_tokens = layout, prefix_tokens
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        x = self.mix(self.embed(images).tanh()).tanh()
        if self.layout == "bchw":
            return x
        tokens = x.flatten(2).transpose(1, 2)
        prefix = [tokens.mean(1, keepdim=True) * (i + 1) for i in range(self.prefix_tokens)]
        return torch.cat([*prefix, tokens], dim=1)


def reference(
    model: Model,
    images: Tensor,
    sizes: list[int],
    *,
    tile: int,
    prefix_tokens: int = 0,
    layout: str = "bnc",
    resize_to: int = 0,
    merge: str = "concat",
    split: bool = True,
) -> Tensor:
    """One image, one scale, one tile at a time."""
    whole = []
    for image in images:
        prefixes, maps = [], []
        for size in sizes:
            height, width, rows, columns = placed(size, tile, split, *image.shape[1:])
            scaled = F.interpolate(image[None], (height, width), mode="bicubic", align_corners=False)
            lines, prefix = [], []
            for row in scaled.chunk(rows, dim=2):
                line = []
                for piece in row.chunk(columns, dim=3):
                    out = model(piece)[0]
                    if layout == "bnc":
                        prefix.append(out[:prefix_tokens])
                        out = out[prefix_tokens:]
                        out = out.T.reshape(out.shape[1], *patches(piece, len(out)))
                    line.append(out)
                lines.append(torch.cat(line, dim=2))
            maps.append(torch.cat(lines, dim=1))
            prefixes.append(torch.stack(prefix).mean(0) if prefix else torch.empty(0))
        target = maps[resize_to].shape[1:]
        maps = [F.interpolate(m[None], target, mode="area")[0] for m in maps]
        merged = torch.cat(maps) if merge == "concat" else torch.stack(maps).sum(0)
        if layout == "bnc":
            merged = merged.flatten(1).T
            if prefix_tokens:
                added = torch.stack(prefixes).sum(0)
                merged = torch.cat([torch.cat(prefixes, -1) if merge == "concat" else added, merged])
        whole.append(merged)
    return torch.stack(whole)


def placed(size: int, tile: int, split: bool, height: int, width: int) -> tuple[int, ...]:
    """Height and width (px), rows and columns of tiles of a scale."""
    short, shape = math.ceil(size / tile), Fraction(max(height, width), min(height, width))
    long = min(
        range(short, math.ceil(short * shape) + 1),
        key=lambda count: (abs(Fraction(count, short) - shape), -count),
    )
    if split and size % short:
        size = short * tile
    sides, counts = (size, size * long // short), ((short, long) if split else (1, 1))
    return (*sides, *counts) if height <= width else (*sides[::-1], *counts[::-1])


def patches(piece: Tensor, tokens: int) -> tuple[int, int]:
    """The patch grid of a tile for which a model gave so many patch tokens."""
    side = next(p for p in range(1, 99) if (piece.shape[2] // p) * (piece.shape[3] // p) == tokens)
    return piece.shape[2] // side, piece.shape[3] // side


def vit(name: str, size: int, **options: Any) -> Any:
    """A timm ViT of that kind, small and untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"img_size": size, "embed_dim": 32, "depth": 2, "num_heads": 2}
        return timm.create_model(name, num_classes=0, **shape, **options).eval()
