"""S²: any frozen vision model over several image scales.

"When Do We Not Need Larger Vision Models?" (Shi et al. 2024), section 3.1: interpolate the image to each
scale, split the larger ones into tiles of the size the model knows, run the same model on every tile, merge
the tiles of a scale into one feature map, pool it to the size of the first scale's map, and concatenate over
channels.

    S2(vit.forward_features, prefix_tokens=1)                        # a timm ViT, MVP's or CLIP's
    S2(dinov2.forward_features, tile=518, prefix_tokens=5)           # timm: CLS and 4 registers
    S2(convnext.forward_features, layout="bchw", scales=(0.5, 1, 2), resize_to=1)
    S2(lambda images: clip(images).last_hidden_state, prefix_tokens=1)  # any function
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from s2robot.vision.scales import (
    Grid,
    Layout,
    Merge,
    Options,
    ResizeTo,
    check_images,
    check_model,
    check_output,
    patch_rows,
    sizes_and_tile,
)

Model = Callable[[Tensor], Tensor]


def multiscale_forward(
    model: Model,
    images: Tensor,
    sizes: Sequence[int] | None = None,
    *,
    scales: Sequence[float] | None = None,
    tile: int | None = None,
    prefix_tokens: int = 0,
    layout: Layout = "bnc",
    resize_to: ResizeTo = 0,
    merge: Merge = "concat",
    split: bool = True,
    max_tiles: int | None = None,
    antialias: bool = False,
) -> Tensor:
    """Features of `images` at several scales, as one map.

    Args:
        model: float (b, 3, h, w) -> (b, P + n, C) where `layout` is `bnc`, (b, C, h', w') where it is `bchw`.
        images: float (B, 3, H, W). A source larger than a scale is resampled down, so that a natively
            rendered or captured high-resolution image brings its own detail (section 3.1 upsamples).
        sizes: short side of each scale (px); default (tile, 2 · tile). It is cut into ceil(size / tile)
            equal tiles; a size that does not divide so is raised to whole tiles of `tile`. The long side
            gets the whole number of tiles that keeps the image's shape best.
        scales: instead of `sizes`, each relative to `tile`.
        tile: largest side (px) that the model is given; default 224, or the smallest of `sizes` where that
            is larger.
        prefix_tokens: P tokens before the patch tokens (CLS, registers): averaged over the tiles of a scale.
        resize_to: index of the scale whose map gives the output's size, or rows and columns of patches.
        merge: `concat` over channels, or `add` (ablation of Table 13).
        split: False runs the model on whole larger images (ablation of Table 12).
        max_tiles: at most so many tiles in one forward; default all of one shape, whatever their scale. A
            program exported with it takes the number of forwards it was exported with.
        antialias: smooth what is resampled down; the paper's code does not.

    Returns:
        (B, P + N, C · len(sizes)), or (B, C · len(sizes), h, w); C alone where merge is `add`.

    Raises:
        UserError: wrong options or images, or a model whose output is not of `layout`.
    """
    check_model(model)
    sizes, tile = sizes_and_tile(sizes, scales, tile)
    options = Options(sizes, tile, prefix_tokens, layout, resize_to, merge, split, max_tiles, antialias)
    return _forward(model, images, options)


class S2(nn.Module):
    """`multiscale_forward` with its options bound and checked at once: `S2(model)(images)`.

    `model` is a module, a method of one (`vit.forward_features`) or a plain function. A module's parameters
    are this module's too; what hides it (a lambda, functools.partial) is to be moved to a device by itself.

    Examples:
        >>> encoder = s2robot.load_encoder("mvp-tiny-sim")
        >>> multiscale = s2robot.S2(encoder, sizes=[224, 448], prefix_tokens=1)
        >>> multiscale(torch.zeros(1, 3, 448, 448)).shape  # two scales, side by side in the channels
        torch.Size([1, 197, 384])
    """

    def __init__(
        self,
        model: Model,
        sizes: Sequence[int] | None = None,
        *,
        scales: Sequence[float] | None = None,
        tile: int | None = None,
        prefix_tokens: int = 0,
        layout: Layout = "bnc",
        resize_to: ResizeTo = 0,
        merge: Merge = "concat",
        split: bool = True,
        max_tiles: int | None = None,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        check_model(model)
        sizes, tile = sizes_and_tile(sizes, scales, tile)
        self.options = Options(
            sizes, tile, prefix_tokens, layout, resize_to, merge, split, max_tiles, antialias
        )
        owner = getattr(model, "__self__", None)
        method = isinstance(owner, nn.Module)
        self.model = cast(Model, owner) if method else model
        self._method = model.__name__ if method else None

    def forward(self, images: Tensor) -> Tensor:
        # A method by its name: a replica of this module calls that of its own copy.
        model = getattr(self.model, self._method) if self._method else self.model
        return _forward(model, images, self.options)

    def extra_repr(self) -> str:
        given = [(field, getattr(self.options, field.name)) for field in fields(self.options)]
        chosen = [f"{field.name}={value!r}" for field, value in given if value != field.default]
        grids = " + ".join(map(str, self.options.grids(1, 1)))
        return f"{', '.join(chosen)}\na square image: {grids}"


def _forward(model: Model, images: Tensor, options: Options) -> Tensor:
    check_images(images)
    grids = options.grids(images.shape[-2], images.shape[-1])
    outputs = _run(model, [_tiles(images, grid, options.antialias) for grid in grids], grids, options)
    prefixes, maps = [], []
    for output, grid in zip(outputs, grids, strict=True):
        prefix, feature_map = _join(output, grid, options)
        prefixes.append(prefix)
        maps.append(feature_map)
    height, width = options.map_size([(m.shape[-2], m.shape[-1]) for m in maps])
    maps = [_pool(feature_map, height, width) for feature_map in maps]
    if options.merge == "add":
        feature_map, prefix = torch.stack(maps).sum(0), torch.stack(prefixes).sum(0)
    else:
        feature_map, prefix = torch.cat(maps, dim=1), torch.cat(prefixes, dim=-1)
    if options.layout == "bchw":
        return feature_map
    return torch.cat([prefix, rearrange(feature_map, "b c h w -> b (h w) c")], dim=1)


def _tiles(images: Tensor, grid: Grid, antialias: bool) -> Tensor:
    """(B, 3, H, W) -> (rows · columns · B, 3, h, w): resized, cut row by row, batch minor.

    Bicubic in float32, as the paper's code (of planes, at which a processor is quicker than at
    interleaved channels); images of that size are left as they are.
    """
    size = (grid.rows * grid.height, grid.columns * grid.width)
    if images.shape[-2:] != size:
        resized = F.interpolate(images.float().contiguous(), size, mode="bicubic", antialias=antialias)
        images = resized.to(images.dtype)
    return rearrange(images, "b c (i h) (j w) -> (i j b) c h w", i=grid.rows, j=grid.columns)


def _run(model: Model, tiles: list[Tensor], grids: list[Grid], options: Options) -> list[Tensor]:
    """The model on all tiles; those of one shape share a batch, whatever scale they come from."""
    outputs: list[Tensor | None] = [None] * len(tiles)
    shapes = [(grid.height, grid.width) for grid in grids]
    for shape in dict.fromkeys(shapes):
        members = [i for i, other in enumerate(shapes) if other == shape]
        batch = torch.cat([tiles[i] for i in members])
        chunks = [batch] if options.max_tiles is None else batch.split(options.max_tiles)
        results = [_run_chunk(model, chunk, options) for chunk in chunks]
        whole = torch.cat(results) if len(results) > 1 else results[0]
        for i, part in zip(members, whole.split([tiles[i].shape[0] for i in members]), strict=True):
            outputs[i] = part
    return [output for output in outputs if output is not None]


def _run_chunk(model: Model, tiles: Tensor, options: Options) -> Tensor:
    try:
        features = model(tiles)
    except Exception as error:
        error.add_note(f"S² gave the model images of shape {tuple(tiles.shape)}, cut by {options}")
        raise
    check_output(features, tiles, options)
    return features


def _join(output: Tensor, grid: Grid, options: Options) -> tuple[Tensor, Tensor]:
    """Tiles of one scale -> prefix tokens (B, P, C), averaged over tiles, and feature map (B, C, h, w)."""
    count = grid.rows * grid.columns
    if options.layout == "bnc":
        rows = patch_rows(output.shape[1], grid, options.prefix_tokens)
        prefix, patches = output[:, : options.prefix_tokens], output[:, options.prefix_tokens :]
        prefix = rearrange(prefix, "(t b) p c -> t b p c", t=count).float().mean(0).to(output.dtype)
        tiles = rearrange(patches, "b (h w) c -> b c h w", h=rows)
    else:
        prefix, tiles = output.new_zeros(output.shape[0] // count, 0, output.shape[1]), output
    return prefix, rearrange(tiles, "(i j b) c h w -> b c (i h) (j w)", i=grid.rows, j=grid.columns)


def _pool(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Area pooling in float32, as the paper's code."""
    if feature_map.shape[-2:] == (height, width):
        return feature_map
    return F.interpolate(feature_map.float(), (height, width), mode="area").to(feature_map.dtype)
