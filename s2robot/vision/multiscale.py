"""S²: any frozen vision model over several image scales.

"When Do We Not Need Larger Vision Models?" (Shi et al. 2024), section 3.1: interpolate the image to each
scale, split the larger ones into tiles of the size the model knows, run the same model on every tile, merge
the tiles of a scale into one feature map, pool it to the size of the first scale's map, and concatenate over
channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from s2robot.errors import UserError, unknown

Layout = Literal["bnc", "bchw"]
Merge = Literal["concat", "add"]


def multiscale_forward(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    sizes: Sequence[int] | None = None,
    *,
    scales: Sequence[float] | None = None,
    tile: int = 224,
    prefix_tokens: int = 0,
    layout: Layout = "bnc",
    resize_to: int = 0,
    merge: Merge = "concat",
    split: bool = True,
    max_tiles: int | None = None,
) -> Tensor:
    """Features of `images` at several scales, as one map.

    Args:
        model: float (b, 3, h, w) -> (b, P + n, C) where `layout` is `bnc`, (b, C, h', w') where it is `bchw`.
        images: float (B, 3, S, S). A source larger than a scale is resampled down, so that a natively
            rendered or captured high-resolution image brings its own detail (section 3.1 upsamples).
        sizes: side of each scale (px); default (224, 448). Or `scales`: each relative to `tile`.
        tile: side (px) of the largest tile the model is given; a scale of size s is cut into ceil(s / tile)²
            tiles, and s must divide by ceil(s / tile).
        prefix_tokens: P tokens before the patch tokens (CLS, registers): averaged over the tiles of a scale.
        resize_to: index of the scale whose map gives the output's size.
        merge: `concat` over channels, or `add` (ablation of Table 13).
        split: False runs the model on whole larger images (ablation of Table 12).
        max_tiles: at most so many tiles in one forward; default all of all scales together.

    Returns:
        (B, P + N, C · len(sizes)), or (B, C · len(sizes), h, w); C alone where merge is `add`.

    Raises:
        UserError: images that are not square, a size that does not divide, an unknown layout or merge.
    """
    sizes = _resolve_sizes(sizes, scales, tile)
    _check(images, sizes, layout, merge, resize_to, prefix_tokens)
    counts = [math.ceil(size / tile) if split else 1 for size in sizes]
    tiles = [_cut(_resize(images, size), count) for size, count in zip(sizes, counts, strict=True)]
    outputs = _run(model, tiles, max_tiles)

    prefixes, maps = [], []
    for output, count in zip(outputs, counts, strict=True):
        prefix, feature_map = _join(output, count, prefix_tokens, layout)
        prefixes.append(prefix)
        maps.append(feature_map)
    target = maps[resize_to].shape[-2:]
    maps = [_pool(m, (target[0], target[1])) for m in maps]
    if merge == "add":
        feature_map, prefix = torch.stack(maps).sum(0), torch.stack(prefixes).sum(0)
    else:
        feature_map, prefix = torch.cat(maps, dim=1), torch.cat(prefixes, dim=-1)
    if layout == "bchw":
        return feature_map
    return torch.cat([prefix, rearrange(feature_map, "b c h w -> b (h w) c")], dim=1)


class S2(nn.Module):
    """`multiscale_forward` around a model, with its options bound: `S2(model, sizes=(224, 448))(images)`."""

    def __init__(self, model: nn.Module, sizes: Sequence[int] = (224, 448), **options: object) -> None:
        super().__init__()
        self.model = model
        self.options: dict = {"sizes": tuple(sizes), **options}

    def forward(self, images: Tensor) -> Tensor:
        return multiscale_forward(self.model, images, **self.options)


def _resolve_sizes(sizes: Sequence[int] | None, scales: Sequence[float] | None, tile: int) -> list[int]:
    if sizes is not None and scales is not None:
        raise UserError(f"sizes={tuple(sizes)} and scales={tuple(scales)} were both given: give one of them")
    if scales is not None:
        return [round(scale * tile) for scale in scales]
    return list(sizes) if sizes is not None else [224, 448]


def _check(
    images: Tensor, sizes: list[int], layout: str, merge: str, resize_to: int, prefix_tokens: int
) -> None:
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise UserError(f"images of shape {tuple(images.shape)}: expected square images (B, 3, S, S)")
    if not images.is_floating_point():
        raise UserError(f"images of dtype {images.dtype}: expected floating point (B, 3, S, S)")
    if not sizes or min(sizes) < 1:
        raise UserError(f"sizes={tuple(sizes)}: expected at least one positive size in px")
    if layout not in ("bnc", "bchw"):
        raise unknown("layout", layout, ("bnc", "bchw"))
    if merge not in ("concat", "add"):
        raise unknown("merge", merge, ("concat", "add"))
    if layout == "bchw" and prefix_tokens:
        raise UserError(f"prefix_tokens={prefix_tokens}: a bchw feature map has none; expected 0")
    if not -len(sizes) <= resize_to < len(sizes):
        raise UserError(f"resize_to={resize_to}: expected the index of one of the {len(sizes)} scales")


def _resize(images: Tensor, size: int) -> Tensor:
    """Bicubic in float32 without antialias, as the paper's code; images of that size are left as they are."""
    if images.shape[-1] == size:
        return images
    resized = F.interpolate(images.float(), (size, size), mode="bicubic", align_corners=False)
    return resized.to(images.dtype)


def _cut(images: Tensor, count: int) -> Tensor:
    """(B, 3, S, S) -> (count² · B, 3, S / count, S / count): tiles row by row, batch minor."""
    if images.shape[-1] % count:
        raise UserError(f"size {images.shape[-1]} does not divide into {count} x {count} tiles")
    return rearrange(images, "b c (i h) (j w) -> (i j b) c h w", i=count, j=count)


def _run(model: Callable[[Tensor], Tensor], tiles: list[Tensor], max_tiles: int | None) -> list[Tensor]:
    """The model on all tiles; those of one shape share a batch, whatever scale they come from."""
    outputs: list[Tensor | None] = [None] * len(tiles)
    for shape in dict.fromkeys(t.shape[1:] for t in tiles):
        members = [i for i, t in enumerate(tiles) if t.shape[1:] == shape]
        batch = torch.cat([tiles[i] for i in members])
        chunks = batch.split(max_tiles or len(batch))
        results = torch.cat([model(chunk) for chunk in chunks]) if len(chunks) > 1 else model(batch)
        for i, result in zip(members, results.split([len(tiles[i]) for i in members]), strict=True):
            outputs[i] = result
    return [output for output in outputs if output is not None]


def _join(output: Tensor, count: int, prefix_tokens: int, layout: str) -> tuple[Tensor, Tensor]:
    """Tiles of one scale -> prefix tokens (B, P, C), averaged over tiles, and feature map (B, C, h, w)."""
    if layout == "bnc":
        prefix, patches = output[:, :prefix_tokens], output[:, prefix_tokens:]
        side = math.isqrt(patches.shape[1])
        if side * side != patches.shape[1]:
            raise UserError(
                f"the model gave {output.shape[1]} tokens, {prefix_tokens} of them prefix tokens: the other "
                f"{patches.shape[1]} are no square grid; set prefix_tokens"
            )
        prefix = rearrange(prefix, "(t b) p c -> t b p c", t=count * count).float().mean(0).to(output.dtype)
        tiles = rearrange(patches, "b (h w) c -> b c h w", h=side)
    else:
        prefix, tiles = output.new_zeros(len(output) // count**2, 0, output.shape[1]), output
    return prefix, rearrange(tiles, "(i j b) c h w -> b c (i h) (j w)", i=count, j=count)


def _pool(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Area pooling in float32, as the paper's code."""
    if feature_map.shape[-2:] == size:
        return feature_map
    return F.interpolate(feature_map.float(), size, mode="area").to(feature_map.dtype)
