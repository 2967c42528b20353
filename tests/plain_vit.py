"""A ViT written down with plain tensor operations: what the encoders' features must equal."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def plain_vit(state: Mapping[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """images float (B, 3, H, W) in [0, 1] -> (B, 1 + N, C)."""
    return _norm(state, "norm", _before_norm(state, images, heads))


def plain_mvp(state: Mapping[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """MVP's feature: the CLS token alone, taken out first and normed then. (B, C)."""
    return _norm(state, "norm", _before_norm(state, images, heads)[:, 0])


def _before_norm(state: Mapping[str, Tensor], images: Tensor, heads: int) -> Tensor:
    x = F.conv2d((images - MEAN) / STD, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], 16)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], dim=1) + state["pos_embed"]
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    for i in range(depth):
        part = {k.removeprefix(f"blocks.{i}."): v for k, v in state.items() if k.startswith(f"blocks.{i}.")}
        x = x + _attention(part, _norm(part, "norm1", x), heads)
        x = x + _linear(part, "mlp.fc2", F.gelu(_linear(part, "mlp.fc1", _norm(part, "norm2", x))))
    return x


def plain_positions(width: int, grid: int) -> Tensor:
    """(1, 1 + grid², width), number by number: sines and cosines of each patch's column, then of its row."""
    rows = [[0.0] * width]
    for row in range(grid):
        for column in range(grid):
            angles = [[at / 10000 ** (4 * i / width) for i in range(width // 4)] for at in (column, row)]
            rows.append([f(a) for part in angles for f in (math.sin, math.cos) for a in part])
    return torch.tensor(rows)[None]


def _attention(part: Mapping[str, Tensor], x: Tensor, heads: int) -> Tensor:
    batch, tokens, width = x.shape
    qkv = _linear(part, "attn.qkv", x).reshape(batch, tokens, 3, heads, width // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    return _linear(part, "attn.proj", (weights @ v).transpose(1, 2).reshape(batch, tokens, width))


def _linear(part: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ part[f"{name}.weight"].T + part[f"{name}.bias"]


def _norm(part: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return scaled * part[f"{name}.weight"] + part[f"{name}.bias"]
