"""One vector from a frame's tokens.

What a small frozen encoder knows of *where* a thing is lies in which token says it: poolings that keep the
grid keep it, a mean throws it away.
"""

from __future__ import annotations

from itertools import count
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.core.errors import unknown

_MOST_CELLS = 400  # of a grid that an MLP reads


class Standardize(nn.Module):
    """Each channel to mean 0 and deviation 1, by statistics of the training frames.

    The mean is taken token by token: what a camera always sees at a place cancels, and what is left is what
    differs from frame to frame.
    """

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.mean, self.std = nn.Buffer(torch.zeros(tokens, channels)), nn.Buffer(torch.ones(channels))

    def fit(self, tokens: Tensor) -> None:
        """Takes the statistics of tokens (B, 1 + N, C)."""
        tokens = tokens.float()
        self.mean.copy_(tokens.mean(0))
        self.std.copy_((tokens - self.mean).square().mean((0, 1)).sqrt().clamp_min(1e-3))

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens - self.mean) / self.std

    def linear(self, tokens: Tensor, layer: nn.Linear) -> Tensor:
        """`layer(self(tokens))` of the patches, with the scale folded into the weights. The mean is not:
        beside a small deviation it would cancel against the bias in float32.
        """
        return F.linear(self._centred(tokens[:, 1:]), layer.weight / self.std, layer.bias)

    def _centred(self, patches: Tensor) -> Tensor:
        """Without the mean, subtracted in float32, in the type that products are computed in."""
        device, mean = patches.device.type, self.mean[1:]
        autocast = torch.is_autocast_enabled(device)
        compute = torch.get_autocast_dtype(device) if autocast else mean.dtype
        if device != "cpu" or patches.requires_grad:
            return (patches - mean).to(compute)
        centred = torch.empty(patches.shape, dtype=compute)
        few = torch.get_num_threads()  # frames at a time: in float32 they do not leave the processor's cache
        for part, result in zip(patches.split(few), centred.split(few), strict=True):
            result.copy_(part.to(mean.dtype, copy=True).sub_(mean))
        return centred


Shape = tuple[int, int, int]
"""(h, w, C): rows, columns and channels of a frame's patches; N = h · w."""


class Dropout(nn.Dropout):
    """Torch's own takes three times as long for its draws on a processor."""

    def forward(self, values: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.training or not self.p:
            return values
        kept = torch.rand(values.shape, device=values.device) >= self.p
        return values * kept.to(values.dtype).div_(1 - self.p)


def _mlp(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(Dropout(dropout), nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


class Pooling(nn.Module):
    """Tokens (B, 1 + N, C), CLS first, the patches row by row -> (B, width).

    `dropout` drops a share of what was read from the tokens: with a hundred demos, a head that may rely on
    every patch remembers the demos.
    """

    def __init__(self, shape: Shape, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        rows, columns, channels = shape
        self.patches = rows * columns
        self.standardize = Standardize(1 + self.patches, channels)


class SpatialProjection(Pooling):
    """A few numbers of every patch, side by side, through an MLP: keeps where things are."""

    def __init__(
        self,
        shape: Shape,
        width: int,
        dropout: float = 0.0,
        hidden: int = 64,
        kept: int = 16,
    ) -> None:
        super().__init__(shape, width, dropout)
        self.project = nn.Linear(shape[2], hidden)
        cells = self._build(shape[0], shape[1], hidden)
        self.keep = nn.Linear(hidden, kept)
        self.mlp = _mlp(cells * kept, width, dropout)

    def _build(self, rows: int, columns: int, hidden: int) -> int:
        """Makes what patches go through; returns how many cells it gives."""
        return rows * columns

    def _mixed(self, patches: Tensor) -> Tensor:
        """(B, N, hidden) -> (B, cells, hidden)."""
        return patches

    def forward(self, tokens: Tensor) -> Tensor:
        patches = F.gelu(self.standardize.linear(tokens, self.project))
        return self.mlp(self.keep(self._mixed(patches)).flatten(1))


class SpatialConvolution(SpatialProjection):
    """The same of patches that have seen their neighbours (default).

    A thing is read alike wherever it lies, across two patches or within one. Of a grid of more than 400
    patches, every second row and column is kept, or fewer: the MLP stays as small as that of a coarse grid.
    """

    def _build(self, rows: int, columns: int, hidden: int) -> int:
        stride = next(s for s in count(1) if ceil(rows / s) * ceil(columns / s) <= _MOST_CELLS)
        self._grid, self._stride = (rows, columns), stride
        self.neighbours = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, stride=stride)
        return ceil(rows / stride) * ceil(columns / stride)

    def _mixed(self, patches: Tensor) -> Tensor:
        grid = patches.transpose(1, 2).unflatten(2, self._grid)
        own = grid if self._stride == 1 else F.avg_pool2d(grid, self._stride, ceil_mode=True)
        return F.gelu(self.neighbours(grid)).add_(own).flatten(2).transpose(1, 2)


class AttentionPooling(Pooling):
    """Learned queries look at the patches, whose positions are added first (Set Transformer's pooling)."""

    def __init__(
        self,
        shape: Shape,
        width: int,
        dropout: float = 0.0,
        queries: int = 4,
        hidden: int = 64,
    ) -> None:
        super().__init__(shape, width, dropout)
        self.project = nn.Linear(shape[2], hidden)
        self.position = nn.Parameter(
            torch.randn(self.patches, hidden) * 0.5
        )  # as large as what it is added to
        self.query = nn.Parameter(torch.randn(queries, hidden))
        self.attention = nn.MultiheadAttention(hidden, num_heads=4, batch_first=True)
        self.mlp = _mlp(queries * hidden, width, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        keys = self.standardize.linear(tokens, self.project) + self.position
        query = self.query.expand(len(tokens), -1, -1)
        return self.mlp(self.attention(query, keys, keys, need_weights=False)[0].flatten(1))


class SpatialSoftmax(Pooling):
    """Rows and columns at which a few heat maps lie (Levine et al. 2016, spatial softmax).

    All weights are shared by the whole grid: what is learned at one place is known at all of them, so many
    scenes are learned, not remembered. Nothing is dropped: so few numbers hold no demos.
    """

    def __init__(self, shape: Shape, width: int, dropout: float = 0.0, points: int = 32) -> None:
        super().__init__(shape, width, dropout)
        rows, columns, channels = shape
        self.heat = nn.Linear(channels, points)
        row, column = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
        self.places = nn.Buffer(torch.cartesian_prod(row, column), persistent=False)
        self.mlp = _mlp(2 * points, width, dropout=0.0)

    def forward(self, tokens: Tensor) -> Tensor:
        heat = self.standardize.linear(tokens, self.heat).float()
        share = heat.softmax(dim=1).transpose(1, 2)
        return self.mlp((share @ self.places).flatten(1))


class MeanPooling(Pooling):
    """The mean of the patches: the path of the paper's lineage."""

    def __init__(self, shape: Shape, width: int, dropout: float = 0.0) -> None:
        super().__init__(shape, width, dropout)
        self.mlp = _mlp(shape[2], width, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mlp(self.standardize(tokens)[:, 1:].mean(1))


class ClsPooling(MeanPooling):
    """The CLS token: MVP's own definition of its feature."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mlp(self.standardize(tokens)[:, 0])


class LinearPooling(Pooling):
    """A linear map of few numbers of every patch: for the linear baseline."""

    def __init__(self, shape: Shape, width: int, dropout: float = 0.0, kept: int = 16) -> None:
        super().__init__(shape, width, dropout)
        self.project = nn.Linear(shape[2], kept)
        self.map = nn.Sequential(Dropout(dropout), nn.Linear(self.patches * kept, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.map(self.standardize.linear(tokens, self.project).flatten(1))


POOLINGS: dict[str, type[Pooling]] = {
    "spatial_convolution": SpatialConvolution,
    "spatial_projection": SpatialProjection,
    "attention": AttentionPooling,
    "spatial_softmax": SpatialSoftmax,
    "mean": MeanPooling,
    "cls": ClsPooling,
    "linear": LinearPooling,
}


def make_pooling(name: str, shape: Shape, width: int, dropout: float = 0.0) -> Pooling:
    """The pooling of that name for tokens (B, 1 + h · w, C) of `shape`, giving (B, `width`)."""
    if name not in POOLINGS:
        raise unknown("pooling", name, POOLINGS)
    return POOLINGS[name](shape, width, dropout)
