"""bf16 where an encoder multiplies, float32 where it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

_BF16, _FP32 = "bf16", "fp32"


def compute_name(bf16: bool, engine: str) -> str:
    """How features are computed, as their identity says it."""
    by_torch = f"{_BF16}, residuals float32, attention by device" if bf16 else _FP32
    names = {"torch": by_torch, "compile": f"{by_torch}, compiled"}
    return names.get(engine, f"{_BF16 if bf16 else _FP32} by {engine}")


def may_stand_for(here: str, trained: str) -> bool:
    """Whether features computed `here` may be given to a policy that was `trained` on others.

    float32 may stand for bf16, and any way to either for another one; bf16 not for float32.
    """
    return trained.startswith(_BF16) or (trained.startswith(_FP32) and here.startswith(_FP32))


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
