"""Statistics of proprioception and actions; normalising and back. The one place that does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

_CONSTANT = 1e-7  # of an entry's magnitude: what float32 does not tell apart
_NOISE = 0.01  # of an entry's magnitude: white noise below it is not scaled up
_WHITE = 0.5  # share of an entry's variance that changes from each step to the next
_LEAST_STEPS = 10  # from which on that share is known
_TAIL, _OUTLYING = 1e-3, 3.0  # steps beyond these quantiles that make the deviation so many times as large
_UNIT = re.compile(r"\[([^\[\]]*[^\[\]\d][^\[\]]*)\]")  # of `joint1 [rad]`, not the index of `state[0]`


@dataclass(frozen=True)
class Statistics:
    """What an entry is normalised by.

    Attributes:
        mean: of each entry.
        std: deviation of each entry; 0: it is constant, and its mean says all.
        remarks: in words, the entries whose scale is not their standard deviation.
    """

    mean: np.ndarray
    std: np.ndarray
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, arrays: Sequence[np.ndarray], labels: Sequence[str] | None = None, *, positions: bool = False
    ) -> Statistics:
        """Over the steps of all episodes, arrays of (T, D).

        The scale is the standard deviation, in whatever unit, but for three kinds of entries. One that is
        constant has none. Of one with rare outliers the 0.1 % at each end are clipped first. White noise of
        less than 1 % of the entry's magnitude, such as that of a resting joint, is divided by that 1 %: what
        moves a robot changes little from a step to the next, noise changes all of itself.

        Args:
            labels: of the entries, `joint1 [rad]`; those of one unit are compared.
            positions: the entries are measured, so the magnitude of one is that of all with its unit; else
                each has its own, since small actions about zero are no noise.
        """
        low, high = bounds = _bounds(np.concatenate(arrays).astype(np.float64))
        arrays = [np.clip(array.astype(np.float64), *bounds) for array in arrays]
        steps = np.concatenate(arrays)
        labels = [f"entry {i}" for i in range(steps.shape[1])] if labels is None else labels
        mean, std = steps.mean(axis=0), steps.std(axis=0)
        own = np.abs(steps).max(axis=0)
        magnitude = _of_units(own, labels) if positions else own
        constant = std <= _CONSTANT * own
        noise = ~constant & (std < _NOISE * magnitude) & (_whiteness(arrays, std) > _WHITE)
        scale = np.where(constant, 0, np.where(noise, _NOISE * magnitude, std))
        remarks = (
            *_named(
                "constant", constant, [f"{label} = {m:.4g}" for label, m in zip(labels, mean, strict=True)]
            ),
            *_named(
                "white noise, not scaled up",
                noise,
                [f"{label} = {m:.4g} +- {s:.2g}" for label, m, s in zip(labels, mean, std, strict=True)],
            ),
            *_named("outliers, clipped for the scale", np.isfinite(high - low), labels),
        )
        return cls(mean, scale, remarks)

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}


class Normalizer(nn.Module):
    """`(x - mean) / std` on the last axis, and its inverse; its buffers travel in the checkpoint.

    A constant entry (std 0) is normalised to 0, whatever comes, and its inverse is the mean.
    """

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
        return (values - self.mean) / self.std.masked_fill(self.std == 0, torch.inf)

    def inverse(self, values: Tensor) -> Tensor:
        return values * self.std + self.mean


def _bounds(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each entry is clipped; infinite for one without outliers."""
    low, high = np.quantile(steps, [_TAIL, 1 - _TAIL], axis=0)
    inner = np.clip(steps, low, high).std(axis=0)
    outlying = (inner > 0) & (steps.std(axis=0) > _OUTLYING * inner)
    return np.where(outlying, low, -np.inf), np.where(outlying, high, np.inf)


def _whiteness(arrays: Sequence[np.ndarray], std: np.ndarray) -> np.ndarray:
    """The share of each entry's variance that changes from a step to the next: 1 for white noise."""
    changes = np.concatenate([np.diff(a, axis=0) for a in arrays])
    if len(changes) < _LEAST_STEPS:
        return np.zeros(std.shape)
    return (changes**2).mean(axis=0) / np.where(std > 0, 2 * std**2, np.inf)


def _of_units(magnitudes: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Of each entry, the largest magnitude of all with its unit; of one without a unit its own."""
    found = [_UNIT.search(label) for label in labels]
    units = [match[1] if match else label for match, label in zip(found, labels, strict=True)]
    largest = {u: max(m for m, v in zip(magnitudes, units, strict=True) if v == u) for u in units}
    return np.array([largest[unit] for unit in units])


def _named(what: str, mask: np.ndarray, texts: Sequence[str]) -> list[str]:
    named = [text for text, chosen in zip(texts, mask, strict=True) if chosen]
    return [f"{what}: {', '.join(named)}"] if named else []
