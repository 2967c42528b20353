"""Masked autoencoder (He et al. 2022) around a ViT: the pre-training of MVP.

Three quarters of the patches are dropped; the encoder takes the rest alone; a light decoder predicts the
pixels of dropped patches. To spend a small machine's time on the encoder, only the kept patches are embedded,
and the decoder predicts a random part of the dropped patches.
"""

from __future__ import annotations

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
    """

    def __init__(
        self,
        architecture: Architecture,
        keep: float = 0.25,
        predicted: float = 0.25,
        decoder_depth: int = 1,
        decoder_width: int = 128,
    ) -> None:
        super().__init__()
        self.patch = architecture.patch_size
        patches = architecture.grid**2
        self.kept, self.predicted = round(patches * keep), round(patches * predicted)
        self.encoder: VisionTransformer = build_vit(architecture)
        self.decoder_embed = nn.Linear(architecture.width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        self.decoder_position = nn.Buffer(sincos_position_embedding(decoder_width, architecture.grid))
        decoder = [Block(decoder_width, num_heads=4, qkv_bias=True) for _ in range(decoder_depth)]
        self.decoder_blocks = nn.Sequential(*decoder)
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.decoder_head = nn.Linear(decoder_width, 3 * self.patch**2)
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).repeat_interleave(self.patch**2))
        self.std = nn.Buffer(torch.tensor(IMAGENET_STD).repeat_interleave(self.patch**2))
        nn.init.normal_(self.mask_token, std=0.02)
        for block in [*self.encoder.blocks, *decoder]:
            block.attn.fused_attn = False  # at 50 to 100 tokens its backward is the slower one on a CPU

    def forward(self, images: Tensor, generator: torch.Generator, part: Microbatch = WHOLE_BATCH) -> Tensor:
        """Mean squared error of normalised pixels of the predicted patches.

        Args:
            images: float (B, 3, H, W) in [0, 1].
            generator: draws the masks.
            part: of the batch that these images are.
        """
        order = BatchRandom(generator, part).uniform((len(images), self._patches(images))).argsort(1)
        order = order.to(images.device)
        kept, dropped = order[:, : self.kept], order[:, self.kept :][:, : self.predicted]
        patches = self._patchify(images)
        latent = self._encode((take(patches, kept) - self.mean) / self.std, kept)
        prediction = self._decode(latent, kept, dropped)
        return F.mse_loss(prediction.float(), normalise_patches(take(patches, dropped)))

    def _patches(self, images: Tensor) -> int:
        return images.shape[-1] * images.shape[-2] // self.patch**2

    def _patchify(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, 3 · patch²), channels first, as the patch embedding's weights lie."""
        return rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=self.patch, q=self.patch)

    def _encode(self, patches: Tensor, kept: Tensor) -> Tensor:
        vit = self.encoder
        projection = vit.patch_embed.proj
        assert isinstance(projection, nn.Conv2d)
        embedded = F.linear(patches, projection.weight.flatten(1), projection.bias)
        position, cls_token = vit.pos_embed, vit.cls_token
        assert position is not None and cls_token is not None
        embedded = embedded + position[0, 1:][kept]
        cls = (cls_token + position[:, :1]).expand(len(patches), -1, -1)
        return vit.norm(vit.blocks(torch.cat([cls, embedded], dim=1)))

    def _decode(self, latent: Tensor, kept: Tensor, dropped: Tensor) -> Tensor:
        position = self.decoder_position[0]
        known = self.decoder_embed(latent)
        known = known + torch.cat([position[:1].expand(len(known), -1, -1), position[1:][kept]], dim=1)
        tokens = torch.cat([known, self.mask_token + position[1:][dropped]], dim=1)
        tokens = self.decoder_norm(self.decoder_blocks(tokens))
        return self.decoder_head(tokens[:, -dropped.shape[1] :])


def take(tokens: Tensor, indexes: Tensor) -> Tensor:
    """tokens (B, N, C) at indexes (B, n) -> (B, n, C)."""
    return tokens.gather(1, indexes[..., None].expand(-1, -1, tokens.shape[-1]))


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch (.., 3 · patch²) to mean 0 and deviation 1 (MAE's normalised-pixel target), with a floor."""
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + _CONTRAST_FLOOR**2).sqrt()
