"""Any model of timm's as a frozen encoder: `timm:NAME`, and `random-timm:NAME` as its control.

Whatever the model gives, the encoder gives 1 + N tokens of it, as poolings and feature caches expect:

- patches: its features before any pooling, a square grid, row by row. A model without one is refused.
- CLS: the class token where it has one, else the mean of the patches.
- Other prefix tokens (registers, distillation) are left out: they stand for no place in the image.

Its weights come as timm brings them: from Hugging Face's cache, else over the net; with HF_HUB_OFFLINE=1 from
the cache alone. It is normalised by its own mean and deviation.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from s2robot.core.errors import UserError
from s2robot.vision.encoders.encoder import Architecture, Encoder
from s2robot.vision.encoders.state import check_state, read_state

_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")  # of timm: names that its registry does not know


class TimmEncoder(Encoder):
    """A timm model, frozen, at the image side it was trained at."""

    def __init__(self, model: nn.Module, name: str) -> None:
        config = _config(model)
        side = config["input_size"][-1]
        grid, width = _measure(model.eval(), name, side)
        blocks = list(getattr(model, "blocks", ()))
        heads = getattr(getattr(blocks[0], "attn", None), "num_heads", 0) if blocks else 0
        architecture = Architecture(width, len(blocks), heads, side, round(side / grid), grid)
        self._trained_at = side
        super().__init__(model, name, architecture, config["mean"], config["std"])

    def _resize(self, image_size: int) -> Architecture:
        """Positions are interpolated by timm, once: again would lose more. Convolutions run at any size."""
        if not hasattr(self.vit, "set_input_size"):
            return self._measured(self.vit, image_size)
        if (side := self.architecture.image_size) != self._trained_at:
            raise UserError(f"{self.name} was fitted to {side} px: load it anew with image_size={image_size}")
        vit = copy.deepcopy(self.vit)
        try:
            cast(Any, vit).set_input_size(img_size=(image_size, image_size))
        except Exception as error:  # each of timm's families has its own ways to say no
            raise _refused(self.name, image_size, error) from error
        architecture = self._measured(vit, image_size)
        self.vit = vit
        return architecture

    def _measured(self, model: nn.Module, image_size: int) -> Architecture:
        grid, _ = _measure(model, self.name, image_size)
        return replace(self.architecture, image_size=image_size, measured_grid=grid)

    def _tokens(self, images: Tensor) -> Tensor:
        return torch.cat(_split(_features(self.vit, images), self.vit), dim=1)


@torch.no_grad()
def _measure(model: nn.Module, name: str, side: int) -> tuple[int, int]:
    """Grid and width of a model's features, from a trial at images of that side."""
    try:
        features = _features(model, torch.zeros(1, 3, side, side))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _refused(name, side, error) from error
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    patches = _split(features, model)[1] if isinstance(features, Tensor) and features.ndim in (3, 4) else None
    grid = 0 if patches is None else math.isqrt(patches.shape[1])
    if patches is None or grid < 2 or grid * grid != patches.shape[1]:
        raise UserError(f"{name} gives {shape} of a square image: no square grid of features")
    return grid, patches.shape[2]


def _features(model: nn.Module, images: Tensor) -> Tensor:
    return model.forward_features(images)  # pyright: ignore[reportCallIssue]


def _refused(name: str, side: int, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{name} does not run at {side} x {side} px: {reason}")


def _split(features: Tensor, model: nn.Module) -> tuple[Tensor, Tensor]:
    """(B, 1, C) and (B, N, C) of a model's features: (B, P + N, C), (B, C, h, w) or (B, h, w, C)."""
    if features.ndim == 4:
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        patches = features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
        return patches.mean(1, keepdim=True), patches
    has_cls = getattr(model, "has_class_token", None)
    has_cls = getattr(model, "cls_token", None) is not None if has_cls is None else has_cls
    prefix = getattr(model, "num_prefix_tokens", int(has_cls))
    patches = features[:, prefix:]
    return features[:, :1] if has_cls else patches.mean(1, keepdim=True), patches


def load_timm(name: str, checkpoint: str | Path | None = None) -> TimmEncoder:
    """The encoder `timm:NAME`, or `random-timm:NAME` (a random initialisation, seed 0).

    Args:
        checkpoint: a local file of the model's `state_dict()`, with or without its classifier, instead of
            timm's weights: safetensors, or a checkpoint of PyTorch's.

    Raises:
        UserError: unknown model, weights that are not at hand, a model without a grid of features, a file as
            in `read_state` and `check_state`.
    """
    model_name = name.removeprefix("random-").removeprefix("timm:")
    if not model_name.startswith(_SOURCES) and not timm.is_model(model_name):
        raise _unknown(model_name)
    if name.startswith("random-"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return TimmEncoder(_create(name, model_name, pretrained=False), name)
    model = _create(name, model_name, pretrained=checkpoint is None)
    if checkpoint is not None:
        path = Path(checkpoint).expanduser()
        state = check_state(
            read_state(path), model.state_dict(), f"{path} as '{name}'", _in_classifier(model)
        )
        model.load_state_dict(state)
    return TimmEncoder(model, name)


def _create(name: str, model_name: str, pretrained: bool) -> nn.Module:
    try:
        return timm.create_model(model_name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # of timm, of the hub, of the net
        reason = " ".join(str(error).split())[:200]
        instead = (
            f"; give checkpoint=PATH, or random-{name} for a random initialisation" if pretrained else ""
        )
        raise UserError(f"cannot make {name}: {type(error).__name__}: {reason}{instead}") from error


def _unknown(model_name: str) -> UserError:
    close = difflib.get_close_matches(model_name.partition(".")[0], timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(f'timm:{c}' for c in close)}? " if close else ""
    return UserError(f"unknown timm model '{model_name}': {hint}timm.list_models() lists them")


def _config(model: nn.Module) -> dict[str, Any]:
    """What timm knows of a model's weights: `input_size` (3, H, W), `mean`, `std`, `classifier`, ..."""
    return cast(Any, model).pretrained_cfg


def _in_classifier(model: nn.Module) -> Callable[[str], bool]:
    names = _config(model).get("classifier") or ()
    prefixes = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    return lambda key: key.startswith(prefixes)
