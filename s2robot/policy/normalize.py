"""Statistics of proprioception and actions; normalising and back. The one place that does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

FLOOR = {"proprio": 1e-2, "action": 2e-3}
"""Least standard deviation (rad, m, 1): an entry that hardly moves must not have its noise blown up."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each entry."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], floor: float) -> Statistics:
        """Over the steps of all episodes, arrays of (T, D)."""
        values = np.concatenate(arrays).astype(np.float64)
        return cls(values.mean(0), np.maximum(values.std(0), floor))

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}


class Normalizer(nn.Module):
    """`(x - mean) / std` on the last axis, and its inverse; its buffers travel in the checkpoint."""

    def __init__(self, size: int, statistics: Statistics | None = None) -> None:
        super().__init__()
        known = statistics or Statistics(np.zeros(size), np.ones(size))
        self.mean = nn.Buffer(torch.as_tensor(known.mean, dtype=torch.float32))
        self.std = nn.Buffer(torch.as_tensor(known.std, dtype=torch.float32))

    @property
    def statistics(self) -> Statistics:
        """What it was made of, in float32."""
        return Statistics(self.mean.cpu().numpy(), self.std.cpu().numpy())

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std

    def inverse(self, values: Tensor) -> Tensor:
        return values * self.std + self.mean
