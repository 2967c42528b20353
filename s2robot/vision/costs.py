"""What a vision model costs at a set of scales: parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from s2robot.core.errors import UserError, unknown
from s2robot.vision.encoders.mvp import ARCHITECTURES, build_vit
from s2robot.vision.s2 import S2

_PRODUCTS_OF_ACTIVATIONS = {torch.ops.aten.bmm, torch.ops.aten.baddbmm}


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        parameters: of the model; scales add none. 0 for a plain function.
        macs: multiply-accumulates of all convolutions and matrix products.
        attention_macs: those among them that multiply activations with each other: queries with keys, and
            attention with values, half each.
    """

    parameters: int
    macs: int
    attention_macs: int


def cost(model: Callable[[Tensor], Tensor], image_size: int = 224) -> Cost:
    """Of `model`, or of `S2(model, ...)`, on one image; nothing is computed, nor memory taken for it.

    Counters that hook modules, and torch's own on a processor, do not see fused attention: here it is taken
    apart first.

    Args:
        model: float (1, 3, S, S) -> anything; a module, a method of one, or a function; on any device, also
            `meta`.
        image_size: S (px); an S² resizes, so that it costs the same at any.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    parameters = list(module.parameters()) if isinstance(module, nn.Module) else []
    like = next((p for p in parameters if p.is_floating_point()), torch.empty(0))
    shapes_only = nullcontext() if like.is_meta else FakeTensorMode(allow_non_fake_inputs=True)
    with (
        torch.no_grad(),
        shapes_only,
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, 3, image_size, image_size, dtype=like.dtype, device=like.device))
    counts = counter.get_flop_counts().get("Global", {})
    attention = sum(flops for operation, flops in counts.items() if operation in _PRODUCTS_OF_ACTIVATIONS)
    return Cost(sum(p.numel() for p in parameters), sum(counts.values()) // 2, attention // 2)


def mvp_cost(architecture: str, sizes: Sequence[int] = (224,), tile: int = 224) -> Cost:
    """Of an MVP architecture with images of `tile` px, at these scales; its weights are never made.

    Table 10 has 17.5 G for ("base", (224,)), 87.9 G for ("base", (224, 448)), 61.6 G for ("large", (224,)).
    Raises UserError for an unknown architecture and a tile that is no multiple of its patch.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    known = ARCHITECTURES[architecture]
    if tile < 1 or tile % known.patch_size:
        raise UserError(f"tile={tile}: expected a multiple of the patch, {known.patch_size} px")
    with torch.device("meta"):
        vit = build_vit(replace(known, image_size=tile))
    return cost(S2(vit.forward_features, sizes, tile=tile, prefix_tokens=1))
