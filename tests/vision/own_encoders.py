"""Encoders of a user's own: what tests name by `_target_`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Patches(nn.Module):
    """(B, P + N, C) tokens, or (B, C, h, w) maps, of patches of 16 px."""

    def __init__(self, prefix: int, layout: str, width: int, grid: tuple[int, int] | None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 16, 16)
        self.prefix, self.layout, self.grid = prefix, layout, grid

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        if self.grid:
            maps = nn.functional.adaptive_avg_pool2d(maps, self.grid)
        if self.layout == "bchw":
            return maps
        patches = maps.flatten(2).transpose(1, 2)
        first = patches.new_full((len(patches), self.prefix, patches.shape[2]), 7.0)
        return torch.cat([first, patches], dim=1)


def make(
    prefix: int = 0, layout: str = "bnc", width: int = 8, grid: tuple[int, int] | None = None
) -> nn.Module:
    return Patches(prefix, layout, width, grid)


def make_nothing() -> Any:
    return "no module"


def make_dictionary() -> nn.Module:
    class Named(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"tokens": images}

    return Named()


def break_off() -> nn.Module:
    raise OSError("no such weights")
