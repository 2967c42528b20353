"""Regression of the chunk: L1 (the default) or squared error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2robot.policy.config import PolicyConfig
from s2robot.utils.randomness import BatchRandom


@dataclass(frozen=True)
class RegressionOptions:
    """It has none."""


class RegressionHead(nn.Linear):
    """Predicts the chunk itself."""

    Options = RegressionOptions
    error: ClassVar[Callable[..., Tensor]]

    def __init__(self, config: PolicyConfig, options: RegressionOptions) -> None:
        super().__init__(config.width, config.chunk_size * config.action_dim)
        self._chunk = (config.chunk_size, config.action_dim)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """hidden (..., width) -> normalised actions (..., Ta, Da)."""
        return super().forward(hidden).unflatten(-1, self._chunk)

    def errors(self, hidden: Tensor, target: Tensor, random: BatchRandom | None) -> Tensor:
        """Of every entry of the normalised target (..., Ta, Da)."""
        return self.error(self(hidden), target, reduction="none")


class L1Head(RegressionHead):
    """Blurs demos that differ less than the squared error does (ACT, Zhao et al. 2023)."""

    error = staticmethod(F.l1_loss)


class MseHead(RegressionHead):
    """The squared error."""

    error = staticmethod(F.mse_loss)
