"""What is random in a training step, and what part of its batch a process holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Microbatch:
    """One of equal parts of a batch, on as many processes or one after the other.

    Attributes:
        index, of: which part of how many.
        counts: loss -> how much of the whole batch it is the mean of, where there are several parts.
    """

    index: int = 0
    of: int = 1
    counts: Mapping[str, Tensor] | None = None

    def count(self, name: str, own: Tensor) -> Tensor:
        """What a part's sum is to be divided by, so that the mean over all parts is that of the batch."""
        return own.clamp_min(1) if self.counts is None else self.counts[name].clamp_min(1) / self.of


WHOLE_BATCH = Microbatch()


class BatchRandom:
    """Random numbers for the windows of a part: drawn for the whole batch, so that no window's depend on
    how the batch was divided.
    """

    def __init__(self, generator: torch.Generator, part: Microbatch = WHOLE_BATCH) -> None:
        self._generator, self._part = generator, part

    def normal(self, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Standard normal numbers, windows first."""
        return self._own(torch.randn(self._whole(shape), generator=self._generator), shape)

    def uniform(self, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Numbers from 0 to 1, windows first."""
        return self._own(torch.rand(self._whole(shape), generator=self._generator), shape)

    def _whole(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] * self._part.of, *shape[1:])

    def _own(self, drawn: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
        first = self._part.index * shape[0]
        return drawn[first : first + shape[0]]
