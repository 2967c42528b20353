"""Checkpoints with exactly the tensors of those that MVP published, and values of our own."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from plain_vit import plain_positions
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def encoder_shapes(width: int, depth: int, grid: int) -> Shapes:
    """150 tensors for 12 blocks, 294 for 24."""
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
    }
    for i in range(depth):
        shapes |= _block(f"blocks.{i}", width)
    return shapes | _pair("norm", width)


def decoder_shapes(width: int, grid: int, decoder_width: int = 32, depth: int = 2) -> Shapes:
    """MAE's decoder (theirs is 512 wide, 8 blocks deep)."""
    shapes: Shapes = {
        "mask_token": (1, 1, decoder_width),
        "decoder_pos_embed": (1, 1 + grid**2, decoder_width),
    }
    shapes |= _pair("decoder_embed", decoder_width, width)
    for i in range(depth):
        shapes |= _block(f"decoder_blocks.{i}", decoder_width)
    return shapes | _pair("decoder_norm", decoder_width) | _pair("decoder_pred", 3 * 16**2, decoder_width)


def _block(name: str, width: int) -> Shapes:
    return (
        _pair(f"{name}.norm1", width)
        | _pair(f"{name}.attn.qkv", 3 * width, width)
        | _pair(f"{name}.attn.proj", width, width)
        | _pair(f"{name}.norm2", width)
        | _pair(f"{name}.mlp.fc1", 4 * width, width)
        | _pair(f"{name}.mlp.fc2", width, 4 * width)
    )


def _pair(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def encoder_state(width: int, depth: int, grid: int, seed: int = 0) -> dict[str, Tensor]:
    """Random values under which every tensor matters; the positions are MVP's."""
    state = _values(encoder_shapes(width, depth, grid), seed)
    return state | {"pos_embed": plain_positions(width, grid)}


def checkpoint(width: int, depth: int, grid: int, seed: int = 0) -> dict[str, Any]:
    """What such a file unpickles to: encoder and decoder under `model`, beside what a training leaves."""
    model = encoder_state(width, depth, grid, seed) | _values(decoder_shapes(width, grid), seed + 1)
    return {"model": model, "epoch": 1599, "args": argparse.Namespace(model="mae", lr=1e-3)}


def _values(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        values[name] = 1 + 0.1 * noise if "norm" in name and name.endswith("weight") else 0.06 * noise
    return values
