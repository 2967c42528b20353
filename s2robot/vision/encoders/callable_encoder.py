"""An encoder from any callable: `encoder._target_` names it, nothing of it needs to be known here."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hydra
import torch
from torch import Tensor, nn

from s2robot.config.targets import instantiate
from s2robot.core.errors import UserError
from s2robot.vision.encoders.encoder import Architecture, Encoder
from s2robot.vision.encoders.options import EncoderOptions

_MOST_PREFIX_TOKENS = 16


class CallableEncoder(Encoder):
    """A module that gives tokens (B, P + N, C) or maps (B, C, h, w) of square images, frozen.

    CLS is the first of the P prefix tokens, or where there is none the mean of the patches; other prefix
    tokens are left out. P and the grid are found by a trial run.

    Args:
        model: float (B, 3, side, side) -> its features.
        side: of the images (px).
        mean, std: images are normalised by them first; None: the module takes images in [0, 1].
        prefix_tokens: P; None: the fewest that leave a square grid.
        source_sha256: of the code that made the model, and of its arguments.

    Raises UserError where the trial fails or gives no square grid.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        side: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        prefix_tokens: int | None = None,
        source_sha256: str | None = None,
    ) -> None:
        normalisation = (mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0))
        super().__init__(model, name, Architecture(0, 0, 0, side), *normalisation)
        self.source_sha256 = source_sha256
        self._in_bf16, self._wanted_prefix, self._prefix = False, prefix_tokens, 0
        self.architecture = self._measured(side)

    def compute_in_bf16(self, fused: bool) -> None:
        self._in_bf16 = True  # by autocast: a model that is not known may hold tensors of its own

    def _resize(self, image_size: int) -> Architecture:
        return self._measured(image_size)

    def _tokens(self, images: Tensor) -> Tensor:
        features = self._features(images)
        if features.ndim == 4:
            patches = features.flatten(2).transpose(1, 2)
            return torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        patches = features[:, self._prefix :]
        cls = features[:, :1] if self._prefix else patches.mean(1, keepdim=True)
        return torch.cat([cls, patches], dim=1)

    def _features(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._in_bf16):
            return self.vit(images)

    @torch.no_grad()
    def _measured(self, side: int) -> Architecture:
        like = next(self.vit.parameters(), self.mean)
        trial = torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device)
        try:
            features = self._features(trial)
        except Exception as error:  # whatever a model that is not ours trips over
            raise UserError(f"{self.name} does not run at {side} x {side} px: {_brief(error)}") from error
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(
                f"{self.name} gives {given}: expected tokens (B, P + N, C) or a map (B, C, h, w); "
                "wrap it in a module that returns these alone"
            )
        if features.ndim == 4:
            width, height, across = features.shape[1:]
            grid = height if height == across else 0
        else:
            width, grid = features.shape[2], self._find_grid(features.shape[1])
        if not grid:
            raise UserError(f"{self.name} gives {tuple(features.shape)} of a square image: no square grid")
        patch = max(1, round(side / grid))
        return replace(self.architecture, width=width, image_size=side, patch_size=patch, measured_grid=grid)

    def _find_grid(self, tokens: int) -> int:
        """Side of the grid of patches, 0 where there is none; notes the prefix tokens."""
        wanted = self._wanted_prefix
        for prefix in range(_MOST_PREFIX_TOKENS) if wanted is None else (wanted,):
            grid = math.isqrt(max(0, tokens - prefix))
            if grid and grid * grid == tokens - prefix:
                self._prefix = prefix
                return grid
        return 0


def make_callable_encoder(options: EncoderOptions) -> CallableEncoder:
    """The encoder that `options.target` names, at images of the smallest of `options.sizes`.

    The callable runs under seed 0, so that a model without trained weights is the same each time.

    Raises:
        UserError: no such callable, one that raises or returns no module, one whose source cannot be read, a
            `checkpoint` beside it (its own arguments name its weights), as `CallableEncoder`.
    """
    assert options.target is not None
    target = options.target["_target_"]
    if options.checkpoint is not None:
        raise UserError(f"encoder._target_ and encoder.checkpoint={options.checkpoint}: expected one of them")
    source = _source_sha256(dict(options.target))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = instantiate(dict(options.target), _convert_="all")
    except UserError:
        raise
    except Exception as error:  # whatever a callable that is not ours raises
        raise UserError(f"encoder._target_={target}: {_brief(error.__cause__ or error)}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"encoder._target_={target} gives {type(model).__name__}: expected a torch nn.Module")
    normalisation = (options.mean, options.std, options.prefix_tokens)
    return CallableEncoder(model.eval(), options.name, min(options.sizes), *normalisation, source)


def _source_sha256(target: dict[str, Any]) -> str:
    """Of the module that the callable stands in, and of its arguments."""
    name = target["_target_"]
    try:
        found = hydra.utils.get_object(name)
    except Exception as error:  # an import runs the module's code
        raise UserError(f"encoder._target_={name} cannot be imported: {_brief(error)}") from error
    while isinstance(found, functools.partial):
        found = found.func
    module = inspect.getmodule(inspect.unwrap(found) if callable(found) else found)
    try:
        source = inspect.getsource(module) if module else ""
    except (OSError, TypeError):
        source = ""
    if not callable(found) or not source:
        raise UserError(f"encoder._target_={name}: expected a function or class whose source can be read")
    arguments = json.dumps(target, sort_keys=True, default=str)
    return hashlib.sha256(f"{source}\n{arguments}".encode()).hexdigest()


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
