"""bf16 where an encoder multiplies, float32 where it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

COMPUTE = "bf16, residuals float32, attention by device"
"""How features in bf16 are computed, as their identity says it."""

BF16 = ("bf16", "bf16, residuals float32", COMPUTE)
"""What checkpoints say of features in bf16; the last is what is made now."""


def to_bf16(model: nn.Module, fused: bool = True) -> None:
    """Makes a frozen model compute in bf16, in place.

    Of a ViT the attentions and MLPs do; patch embedding, residual stream and norms stay float32, for small
    errors of the first tokens grow from block to block. Any other model does so as a whole.

    Args:
        fused: attention in one kernel. On the processor where this was measured (no AMX) it is no quicker in
            bf16 than in float32; in single steps (products, softmax) it is.
    """
    blocks = cast(Sequence[Any], getattr(model, "blocks", ()))
    if not isinstance(model, VisionTransformer) or any(type(block) is not Block for block in blocks):
        model.to(torch.bfloat16)
        return
    for block in blocks:
        block.attn.fused_attn &= fused
        for part in (block.attn, block.mlp):
            part.to(torch.bfloat16)
            part.register_forward_pre_hook(_in_bf16)


def _in_bf16(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    tokens, *others = arguments
    return tokens.to(torch.bfloat16), *others
