"""MVP encoders: frozen vision transformers from masked visual pre-training, by name.

MVP (Xiao et al. 2022; Radosavovic et al. 2022) pre-trains a ViT as a masked autoencoder and freezes it. The
architectures are timm's, but for ViT-S, which has 12 heads here (timm: 6; the weights' shapes match either
way, the features do not).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from s2robot.core.errors import UserError, unknown
from s2robot.vision.encoders.encoder import Architecture, Encoder
from s2robot.vision.encoders.published import PUBLISHED, fetch, is_left_out
from s2robot.vision.encoders.state import check_state, read_state

WEIGHTS = Path(__file__).parent / "weights"

ARCHITECTURES = {
    "tiny": Architecture(192, 6, 3),
    "small": Architecture(384, 12, 12),
    "base": Architecture(768, 12, 12),
    "large": Architecture(1024, 24, 16, image_size=256),
}

EMBEDDED = {"mvp-tiny-sim": "tiny", "mvp-tiny-rooms": "tiny"}
"""Encoders shipped with the package: name -> architecture."""

_ROUNDING = {torch.bfloat16: 4e-3}
"""How far a position embedding of values up to 1 may be off that was stored so; as float16, 1e-3."""


class MvpEncoder(Encoder):
    """A ViT of MVP's, whose own feature is the CLS token after the final norm; S² needs all tokens."""

    vit: VisionTransformer
    architecture: Architecture
    positions: Tensor

    def __init__(self, vit: VisionTransformer, name: str, architecture: Architecture) -> None:
        super().__init__(vit, name, architecture)
        self.register_buffer("positions", cast(Tensor, vit.pos_embed).detach().clone(), persistent=False)

    def _tokens(self, images: Tensor) -> Tensor:
        return self.vit.forward_features(images)

    def _resize(self, image_size: int) -> Architecture:
        """Crops the position embedding: that of a smaller grid is the top left corner of a larger one's."""
        patch, side = self.architecture.patch_size, math.isqrt(self.positions.shape[1] - 1)
        grid = image_size // patch
        if image_size % patch or not 1 <= grid <= side:
            raise UserError(
                f"image_size={image_size}: expected a multiple of {patch} up to {side * patch} px, which "
                f"'{self.name}' has positions for"
            )
        patches = self.positions[0, 1:].unflatten(0, (side, side))[:grid, :grid].flatten(0, 1)
        self.vit.pos_embed = nn.Parameter(
            torch.cat([self.positions[0, :1], patches])[None], requires_grad=False
        )
        cast(Any, self.vit.patch_embed).set_input_size(img_size=(image_size, image_size))
        return replace(self.architecture, image_size=image_size)


def load_mvp(name: str, checkpoint: str | Path | None = None) -> MvpEncoder:
    """An embedded or published encoder, or an architecture with the weights of `checkpoint`.

    Raises UserError as `registry.load_encoder`.
    """
    if checkpoint is not None:
        return _from_file(Path(checkpoint), name, _architecture_named(name))
    if name in EMBEDDED:
        return _from_file(WEIGHTS / f"{name}.safetensors", name, EMBEDDED[name])
    if name in PUBLISHED:
        return _from_file(fetch(name), name, PUBLISHED[name].architecture)
    raise weights_missing(name)


def weights_missing(architecture: str) -> UserError:
    """The error for an architecture without weights."""
    return UserError(
        f"{architecture} is an architecture: give checkpoint=PATH too, or name random-{architecture}"
    )


def load_mvp_file(path: Path, name: str) -> MvpEncoder:
    """The encoder in a file; its shapes say which architecture it is. Raises UserError."""
    return _from_file(path, name, None)


def random_mvp(name: str) -> MvpEncoder:
    """`random-ARCHITECTURE`: a random initialisation (seed 0). Raises UserError."""
    architecture = name.removeprefix("random-")
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MvpEncoder(build_vit(ARCHITECTURES[architecture]), name, ARCHITECTURES[architecture])


def _architecture_named(name: str) -> str:
    known = {a: a for a in ARCHITECTURES} | EMBEDDED | {n: p.architecture for n, p in PUBLISHED.items()}
    if name not in known:
        raise unknown("architecture", name, known)
    return known[name]


def _from_file(path: Path, name: str, architecture_name: str | None) -> MvpEncoder:
    given = read_state(path.expanduser())
    architecture_name = architecture_name or _architecture_of(given, path)
    architecture = ARCHITECTURES[architecture_name]
    with torch.device("meta"):  # no values: the file has them
        vit = build_vit(architecture)
    what = f"{path} as '{architecture_name}'"
    left_out = (lambda key: False) if path.suffix == ".safetensors" else is_left_out
    state = check_state(given, vit.state_dict(), what, left_out)
    _check_positions(state["pos_embed"], given["pos_embed"].dtype, architecture, what)
    vit.load_state_dict(state, assign=True)
    return MvpEncoder(vit, name, architecture)


def _architecture_of(state: Mapping[str, Tensor], path: Path) -> str:
    width = state["norm.bias"].numel() if "norm.bias" in state else 0
    depth = len({key.split(".")[1] for key in state if re.match(r"blocks\.\d+\.", key)})
    for name, architecture in ARCHITECTURES.items():
        if (architecture.width, architecture.depth) == (width, depth):
            return name
    known = ", ".join(f"{name} {a.width} x {a.depth}" for name, a in ARCHITECTURES.items())
    raise UserError(f"{path}: a ViT of width {width} and {depth} blocks is none of MVP's ({known})")


def _check_positions(given: Tensor, stored: torch.dtype, architecture: Architecture, what: str) -> None:
    expected = sincos_position_embedding(architecture.width, architecture.grid)
    off = (given - expected).abs().max().item()
    if off > _ROUNDING.get(stored, 1e-3):
        raise UserError(f"{what}: 'pos_embed' is {off:.2g} off MVP's sine-cosine positions")


def build_vit(architecture: Architecture) -> VisionTransformer:
    """The ViT without a head, with MVP's fixed sine-cosine position embedding."""
    a = architecture
    vit = VisionTransformer(
        img_size=a.image_size,
        patch_size=a.patch_size,
        embed_dim=a.width,
        depth=a.depth,
        num_heads=a.heads,
        num_classes=0,
        global_pool="token",
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    vit.pos_embed = nn.Parameter(sincos_position_embedding(a.width, a.grid), requires_grad=False)
    return vit


def sincos_position_embedding(width: int, grid: int) -> Tensor:
    """(1, 1 + grid², width): zeros for CLS, then MAE's embedding of (column, row), half of C each."""
    omega = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    parts = []
    for coordinate in (column, row):
        angle = coordinate.reshape(-1, 1).double() * omega
        parts += [angle.sin(), angle.cos()]
    patches = torch.cat(parts, dim=1)
    return torch.cat([torch.zeros(1, width), patches.float()])[None]
