"""The options of S² checked, and where each scale of an image is cut: numbers only, no pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from torch import Tensor

from s2robot.core.errors import UserError, unknown

Layout = Literal["bnc", "bchw"]
Merge = Literal["concat", "add"]
ResizeTo = int | tuple[int, int]
"""The index of a scale, whose map gives the size of all, or that size: rows and columns of patches."""

_HINTS = {
    2: "; these are pooled, a timm model's forward_features are not",
    3: "; layout='bnc' takes tokens",
    4: "; layout='bchw' takes feature maps",
}


class Grid(NamedTuple):
    """One scale of an image: rows x columns of tiles, each height x width px."""

    rows: int
    columns: int
    height: int
    width: int

    def __str__(self) -> str:
        tiles = f"{self.rows} x {self.columns} tiles of " if self.rows * self.columns > 1 else ""
        return f"{tiles}{self.height} x {self.width} px"


@dataclass(frozen=True)
class Options:
    """The arguments of `multiscale_forward`, checked: its docstring explains each. Raises UserError."""

    sizes: tuple[int, ...]
    tile: int
    prefix_tokens: int = 0
    layout: Layout = "bnc"
    resize_to: ResizeTo = 0
    merge: Merge = "concat"
    split: bool = True
    max_tiles: int | None = None
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.layout not in ("bnc", "bchw"):
            raise unknown("layout", self.layout, ("bnc", "bchw"))
        if self.merge not in ("concat", "add"):
            raise unknown("merge", self.merge, ("concat", "add"))
        for name in ("split", "antialias"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name}={getattr(self, name)!r}: expected True or False")
        _check_tile(self.tile)
        _check_whole("prefix_tokens", self.prefix_tokens, 0, "0 or more; 1 for CLS alone")
        if self.layout == "bchw" and self.prefix_tokens:
            raise UserError(f"prefix_tokens={self.prefix_tokens}: a bchw feature map has none; expected 0")
        _check_resize_to(self.resize_to, len(self.sizes))
        if self.max_tiles is not None:
            _check_whole("max_tiles", self.max_tiles, 1, "1 or more tiles a forward, or None")

    def grids(self, height: int, width: int) -> list[Grid]:
        """Of each scale, for an image of height x width px."""
        return [self._grid(size, height, width) for size in self.sizes]

    def map_size(self, maps: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Rows and columns of the merged map, of those of each scale's."""
        return self.resize_to if isinstance(self.resize_to, tuple) else maps[self.resize_to]

    def _grid(self, size: int, height: int, width: int) -> Grid:
        short = math.ceil(size / self.tile)
        shorter, longer = min(height, width), max(height, width)
        long = (2 * short * longer + shorter) // (2 * shorter)  # the nearest whole number
        rows, columns = (short, long) if height <= width else (long, short)
        if not self.split:
            return Grid(1, 1, size * rows // short, size * columns // short)
        side = self.tile if size % short else size // short
        return Grid(rows, columns, side, side)


def sizes_and_tile(
    sizes: Sequence[int] | None, scales: Sequence[float] | None, tile: int | None
) -> tuple[tuple[int, ...], int]:
    """What was given and the defaults of what was not, in px. Raises UserError."""
    given = None if sizes is None else _listed("sizes", sizes, "(224, 448)")
    factors = (1, 2) if scales is None else _listed("scales", scales, "(1, 2)")
    if given is not None and scales is not None:
        raise UserError(f"sizes={given} and scales={factors} were both given: give one of them")
    if tile is not None:
        _check_tile(tile)
    if given is None:
        tile = 224 if tile is None else tile
        if not factors or not all(_is_factor(factor, tile) for factor in factors):
            raise UserError(f"scales={factors}: expected at least one factor of tile={tile}, such as (1, 2)")
        return tuple(round(factor * tile) for factor in factors), tile
    if not given or not all(_is_whole(size, 1) for size in given):
        raise UserError(f"sizes={given}: expected at least one whole number of px; factors go to scales=")
    return tuple(map(int, given)), max(224, int(min(given))) if tile is None else tile


def _listed(name: str, given: object, example: str) -> tuple[Any, ...]:
    if not isinstance(given, Iterable):
        raise UserError(f"{name}={given!r}: expected a sequence, such as {example}")
    return tuple(given)


def _is_whole(given: object, least: int) -> bool:
    return isinstance(given, Integral) and not isinstance(given, bool) and int(given) >= least


def _is_factor(given: object, tile: int) -> bool:
    return isinstance(given, Real) and math.isfinite(given) and float(given) * tile >= 1


def _check_whole(name: str, given: object, least: int, expected: str) -> None:
    if not _is_whole(given, least):
        raise UserError(f"{name}={given!r}: expected {expected}")


def _check_resize_to(given: object, count: int) -> None:
    index = f"the index of one of the {count} scales, 0 to {count - 1}, or rows and columns of patches"
    if isinstance(given, tuple):
        if len(given) != 2 or not all(_is_whole(side, 1) for side in given):
            raise UserError(f"resize_to={given}: expected {index}")
        return
    _check_whole("resize_to", given, -count, index)
    if isinstance(given, int) and given >= count:
        raise UserError(f"resize_to={given}: expected {index}")


def _check_tile(tile: object) -> None:
    _check_whole("tile", tile, 1, "the side (px) of the images that the model knows, a whole number")


def check_model(model: object) -> None:
    """Raises UserError for what cannot be called."""
    if not callable(model):
        raise UserError(f"model={model!r}: expected a module, a method of one or a function")


def check_images(images: Tensor) -> None:
    """Raises UserError for what is not float (B, C, H, W), or has its channels last."""
    if not isinstance(images, Tensor):
        raise UserError(f"images of type {type(images).__name__}: expected a tensor, float (B, 3, H, W)")
    if not images.is_floating_point():
        raise UserError(f"images of dtype {images.dtype}: expected float (B, 3, H, W), such as images / 255")
    if images.ndim != 4 or min(images.shape[-2:]) < 1:
        raise UserError(f"images of shape {tuple(images.shape)}: expected (B, 3, H, W)")
    if images.shape[1] > 4 and images.shape[3] <= 4:
        raise UserError(
            f"images of shape {tuple(images.shape)}: expected (B, 3, H, W); their channels are last, "
            "images.permute(0, 3, 1, 2) puts them first"
        )


def check_output(output: object, tiles: Tensor, options: Options) -> None:
    """Raises UserError for what cannot be the features of `tiles`."""
    if not isinstance(output, Tensor):
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, dict) else ""
        raise UserError(
            f"the model gave a {type(output).__name__}{keys}: expected a tensor; "
            "wrap the model in a function that returns its tokens or its feature map alone"
        )
    shape, layout = tuple(output.shape), options.layout
    if len(shape) != len(layout):
        hint = _HINTS.get(len(shape), "")
        raise UserError(f"the model gave {shape}: expected ({', '.join(layout)}){hint}")
    if shape[0] != tiles.shape[0]:
        raise UserError(f"the model gave features of {shape[0]} images for {tiles.shape[0]} tiles")
    if layout == "bchw" and tiles.shape[2] == tiles.shape[3] and shape[2] != shape[3]:
        raise UserError(f"the model gave {shape} for a square tile: expected (b, c, h, w) with h = w")


def patch_rows(tokens: int, grid: Grid, prefix_tokens: int) -> int:
    """Rows of the patch grid of a tile for which the model gave so many tokens. Raises UserError."""
    patches = tokens - prefix_tokens
    rows = _rows(patches, grid)
    if rows:
        return rows
    fitting = [p for p in range(tokens) if _rows(tokens - p, grid)]
    hint = f"; prefix_tokens={fitting[0]} would fit" if fitting else ""
    raise UserError(
        f"the model gave {tokens} tokens for {grid.height} x {grid.width} px, {prefix_tokens} of them prefix "
        f"tokens: the other {patches} are no grid of that shape{hint}"
    )


def _rows(patches: int, grid: Grid) -> int:
    """Rows of a patch grid of the tile's shape, 0 where so many patches do not make one."""
    rows = round(math.sqrt(max(0, patches) * grid.height / grid.width))
    columns = patches // max(1, rows)
    whole = rows * columns == patches and abs(rows * grid.width - columns * grid.height) < min(grid[2:])
    return rows if whole else 0
