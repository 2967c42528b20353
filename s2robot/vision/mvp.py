"""MVP encoders: frozen vision transformers from masked visual pre-training, by name.

MVP (Xiao et al. 2022; Radosavovic et al. 2022) pre-trains a ViT as a masked autoencoder and freezes it. The
architectures are timm's, but for ViT-S, which has 12 heads here (timm: 6; the weights' shapes match either
way, the features do not).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from s2robot.errors import UserError, unknown

WEIGHTS = Path(__file__).parent / "weights"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A ViT: width C, depth in blocks, heads, image side and patch side in px."""

    width: int
    depth: int
    heads: int
    image_size: int = 224
    patch_size: int = 16

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


ARCHITECTURES = {
    "tiny": Architecture(192, 6, 3),
    "small": Architecture(384, 12, 12),
    "base": Architecture(768, 12, 12),
    "large": Architecture(1024, 24, 16, image_size=256),
}

EMBEDDED = {"mvp-tiny-sim": "tiny"}
"""Encoders shipped with the package: name -> architecture."""


class Encoder(nn.Module):
    """A frozen ViT: frames in, tokens out; normalises with ImageNet's statistics inside.

    Stays in eval mode and without gradients whatever a parent module is told.
    """

    prefix_tokens = 1
    mean: Tensor
    std: Tensor

    def __init__(self, vit: VisionTransformer, name: str, architecture: Architecture) -> None:
        super().__init__()
        self.vit = vit.eval()
        self.name = name
        self.architecture = architecture
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.weights_sha256 = hash_weights(vit.state_dict())

    @property
    def width(self) -> int:
        return self.architecture.width

    def train(self, mode: bool = True) -> Encoder:
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, 1 + N, C), CLS first, after the final norm (MVP's definition of the feature is its CLS).

        Args:
            images: uint8 (B, H, W, 3), or float (B, 3, H, W) in [0, 1]; H = W = `architecture.image_size`.
        """
        images = to_float(images)
        dtype = next(self.vit.parameters()).dtype
        normalised = (images - self.mean.to(images.dtype)) / self.std.to(images.dtype)
        return self.vit.forward_features(normalised.to(dtype))


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1]; float images are returned as they are."""
    if images.dtype == torch.uint8:
        return images.permute(0, 3, 1, 2).float() / 255
    return images


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


def load_encoder(name: str = "mvp-tiny-sim", checkpoint: str | Path | None = None) -> Encoder:
    """The frozen encoder of that name.

    Args:
        name: an embedded encoder; or, with `checkpoint`, an architecture (`tiny`, `small`, ...);
            `random-tiny` and the like give a frozen random initialisation (seed 0), the control of every
            probe.
        checkpoint: a safetensors file that `s2robot pretrain` wrote.

    Raises:
        UserError: unknown name, missing or damaged file, weights of another architecture.
    """
    if name.startswith("random-"):
        return _random_encoder(name)
    if checkpoint is not None:
        if name not in ARCHITECTURES:
            raise unknown("architecture", name, ARCHITECTURES)
        return _load(Path(checkpoint), name, name)
    if name not in EMBEDDED:
        raise unknown("encoder", name, [*EMBEDDED, *(f"random-{a}" for a in ARCHITECTURES)])
    return _load(WEIGHTS / f"{name}.safetensors", name, EMBEDDED[name])


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and float32 values: what feature caches and results are keyed by."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _random_encoder(name: str) -> Encoder:
    architecture = name.removeprefix("random-")
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(build_vit(ARCHITECTURES[architecture]), name, ARCHITECTURES[architecture])


def _load(path: Path, name: str, architecture_name: str) -> Encoder:
    architecture = ARCHITECTURES[architecture_name]
    if not path.is_file():
        raise UserError(f"no encoder weights at {path}: `s2robot pretrain` makes them")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from error
    vit = build_vit(architecture)
    _check_state(state, vit.state_dict(), f"{path} as '{architecture_name}'")
    vit.load_state_dict({key: value.float() for key, value in state.items()})
    return Encoder(vit, name, architecture)


def _check_state(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    if missing := expected.keys() - given.keys():
        raise UserError(f"{what}: lacks {len(missing)} tensors, first '{min(missing)}'")
    if extra := given.keys() - expected.keys():
        raise UserError(f"{what}: has {len(extra)} tensors too many, first '{min(extra)}'")
    for key, value in expected.items():
        if given[key].shape != value.shape:
            raise UserError(f"{what}: '{key}' is {tuple(given[key].shape)}, expected {tuple(value.shape)}")
