"""Masked autoencoder (He et al. 2022) around a ViT: the pre-training of MVP, at one image scale or as in S².

Three quarters of the patches are dropped; the encoder takes the rest alone; a light decoder predicts the
pixels of dropped patches. To spend a small machine's time on the encoder, only the kept patches are embedded,
and the decoder predicts a random part of the dropped patches.

At several scales the encoder runs as S² runs it: on the whole image and on tiles of the larger ones, whose
tokens are averaged over each patch of the first scale and concatenated over channels. Section 4.3 of the S²
paper pre-trains so for classification and DINOv2 and says nothing of masks; these are ours. One is drawn for
all scales, on the first one's grid of patches: a cell of it is dropped with all that lies in it at every
scale, else the finer scale would show what the coarser is to predict. As many cells are kept of every tile.
The decoder predicts a dropped cell's pixels at every scale from the merged features of kept cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from s2robot.utils.randomness import WHOLE_BATCH, BatchRandom, Microbatch
from s2robot.vision.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Architecture
from s2robot.vision.encoders.mvp import build_vit, sincos_position_embedding

_CONTRAST_FLOOR = 0.02
"""Standard deviation (of [0, 1]) below which a patch is flat: normalised, its noise would be the target."""


class MaskedAutoencoder(nn.Module):
    """Encoder to keep, decoder to throw away.

    Args:
        architecture: of the encoder.
        keep: share of the patches that the encoder takes (MAE, MVP: 0.25).
        predicted: share of the patches that the decoder predicts, drawn from the dropped ones.
        decoder_depth: its blocks. With more of them the encoder's own last ones need not turn to pixels:
            linear probes of MAE gain 8 % from 1 to 8 blocks (its Table 1a).
        decoder_width: of them.
        scales: image sides by the architecture's; that many tiles a side. Their least common multiple must
            divide the grid, and leave a cell to keep and one to predict.
    """

    def __init__(
        self,
        architecture: Architecture,
        keep: float = 0.25,
        predicted: float = 0.25,
        decoder_depth: int = 1,
        decoder_width: int = 128,
        scales: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        self.patch, self.grid, self.scales = architecture.patch_size, architecture.grid, tuple(scales)
        self.regions = math.lcm(*scales)
        cells = (self.grid // self.regions) ** 2
        self.kept, self.predicted = round(cells * keep), round(cells * predicted)
        self.cells = nn.Buffer(cells_of_regions(self.grid, self.regions), persistent=False)
        self.encoder: VisionTransformer = build_vit(architecture)
        self.decoder_embed = nn.Linear(architecture.width * len(self.scales), decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        self.decoder_position = nn.Buffer(sincos_position_embedding(decoder_width, architecture.grid))
        decoder = [Block(decoder_width, num_heads=4, qkv_bias=True) for _ in range(decoder_depth)]
        self.decoder_blocks = nn.Sequential(*decoder)
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.pixels = [3 * (scale * self.patch) ** 2 for scale in self.scales]
        self.decoder_head = nn.Linear(decoder_width, sum(self.pixels))
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).repeat_interleave(self.patch**2))
        self.std = nn.Buffer(torch.tensor(IMAGENET_STD).repeat_interleave(self.patch**2))
        nn.init.normal_(self.mask_token, std=0.02)
        for block in [*self.encoder.blocks, *decoder]:
            block.attn.fused_attn = False  # at 50 to 100 tokens its backward is the slower one on a CPU

    def forward(self, images: Tensor, generator: torch.Generator, part: Microbatch = WHOLE_BATCH) -> Tensor:
        """Mean squared error of normalised pixels of the predicted patches, the mean of that of each scale.

        Args:
            images: float (B, 3, H, W) in [0, 1], of the last scale's side.
            generator: draws the masks.
            part: of the batch that these images are.
        """
        kept, dropped = self._draw(len(images), generator, part)
        views = [self._patchify(images, scale) for scale in self.scales]
        latent = self._merge(self._encode(*self._tiles(views, kept)))
        predictions = self._decode(latent, kept, dropped).float().split(self.pixels, dim=-1)
        targets = [normalise_patches(self._apart(take(view, dropped))).flatten(2) for view in views]
        losses = [F.mse_loss(*pair) for pair in zip(predictions, targets, strict=True)]
        return torch.stack(losses).mean()

    def _draw(self, count: int, generator: torch.Generator, part: Microbatch) -> tuple[Tensor, Tensor]:
        """Cells to keep (B, K) and to predict (B, D), region by region."""
        order = BatchRandom(generator, part).uniform((count, self.grid**2))
        order = order.unflatten(1, self.cells.shape).argsort(-1).to(self.cells.device)
        cells = self.cells.expand(count, -1, -1).gather(-1, order)
        kept, dropped = cells[..., : self.kept], cells[..., self.kept :][..., : self.predicted]
        return kept.flatten(1), dropped.flatten(1)

    def _patchify(self, images: Tensor, scale: int) -> Tensor:
        """(B, 3, H, W) -> (B, N, scale² · 3 · patch²): the patches of a scale that lie in each cell.

        Channels first in a patch, as the patch embedding's weights lie; resized as S² does.
        """
        side = scale * self.grid * self.patch
        if images.shape[-1] != side:
            images = F.interpolate(images, (side, side), mode="bicubic")
        cut = "b c (h i p) (w j q) -> b (h w) (i j c p q)"
        return rearrange(images, cut, i=scale, j=scale, p=self.patch, q=self.patch)

    def _apart(self, cells: Tensor) -> Tensor:
        """(B, n, scale² · 3 · patch²) -> (B, n, scale², 3 · patch²)."""
        return cells.unflatten(-1, (-1, 3 * self.patch**2))

    def _tiles(self, views: list[Tensor], kept: Tensor) -> tuple[Tensor, Tensor]:
        """Kept patches (T · B, n, 3 · patch²) of all T tiles, and where in its tile each lies (T · B, n)."""
        patches, places = [], []
        for scale, view in zip(self.scales, views, strict=True):
            split = "b (ti u tj v k) s ... -> (ti tj b) (u v k s) ..."
            place = places_in_tile(self.grid, scale).to(kept.device)[kept]
            patches.append(rearrange(self._apart(take(view, kept)), split, **self._sides(scale)))
            places.append(rearrange(place, split, **self._sides(scale)))
        return (torch.cat(patches) - self.mean) / self.std, torch.cat(places)

    def _sides(self, scale: int) -> dict[str, int]:
        """Rows and columns: of tiles, and of regions in each."""
        regions = self.regions // scale
        return {"ti": scale, "tj": scale, "u": regions, "v": regions}

    def _encode(self, patches: Tensor, places: Tensor) -> Tensor:
        vit = self.encoder
        projection = vit.patch_embed.proj
        assert isinstance(projection, nn.Conv2d)
        embedded = F.linear(patches, projection.weight.flatten(1), projection.bias)
        position, cls_token = vit.pos_embed, vit.cls_token
        assert position is not None and cls_token is not None
        embedded = embedded + position[0, 1:][places]
        cls = (cls_token + position[:, :1]).expand(len(patches), -1, -1)
        return vit.norm(vit.blocks(torch.cat([cls, embedded], dim=1)))

    def _merge(self, tokens: Tensor) -> Tensor:
        """Tokens (T · B, 1 + n, C) of all tiles -> (B, 1 + K, C · scales), merged as S² merges them."""
        tiles = [scale**2 for scale in self.scales]
        images = len(tokens) // sum(tiles)
        merged = []
        for scale, own in zip(self.scales, tokens.split([images * t for t in tiles]), strict=True):
            join = "(ti tj b) (u v k s) c -> b (ti u tj v k) s c"
            cells = rearrange(own[:, 1:], join, s=scale**2, **self._sides(scale)).mean(2)
            cls = own[:, :1].unflatten(0, (-1, images)).mean(0)
            merged.append(torch.cat([cls, cells], dim=1))
        return torch.cat(merged, dim=-1)

    def _decode(self, latent: Tensor, kept: Tensor, dropped: Tensor) -> Tensor:
        position = self.decoder_position[0]
        known = self.decoder_embed(latent)
        known = known + torch.cat([position[:1].expand(len(known), -1, -1), position[1:][kept]], dim=1)
        tokens = torch.cat([known, self.mask_token + position[1:][dropped]], dim=1)
        tokens = self.decoder_norm(self.decoder_blocks(tokens))
        return self.decoder_head(tokens[:, -dropped.shape[1] :])


def cells_of_regions(grid: int, regions: int) -> Tensor:
    """(regions², cells): the cells of a grid x grid map that lie in each of regions x regions equal parts."""
    cells = torch.arange(grid**2).view(grid, grid)
    return rearrange(cells, "(a h) (b w) -> (a b) (h w)", a=regions, b=regions)


def places_in_tile(grid: int, scale: int) -> Tensor:
    """(grid², scale²): where in its tile's own grid each patch of a scale lies, cell by cell."""
    tiles = torch.arange(grid**2).view(grid, grid).repeat(scale, scale)
    return rearrange(tiles, "(h i) (w j) -> (h w) (i j)", i=scale, j=scale)


def take(tokens: Tensor, indexes: Tensor) -> Tensor:
    """tokens (B, N, C) at indexes (B, n) -> (B, n, C)."""
    return tokens.gather(1, indexes[..., None].expand(-1, -1, tokens.shape[-1]))


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch (.., 3 · patch²) to mean 0 and deviation 1 (MAE's normalised-pixel target), with a floor."""
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + _CONTRAST_FLOOR**2).sqrt()
