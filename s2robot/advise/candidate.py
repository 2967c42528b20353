"""A vision model at a set of image sizes: its features of the frames, its costs, its heads' errors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from s2robot.advise.head_cache import HeadCache
from s2robot.advise.probe import ProbeSet, cross_validate, fold_episodes
from s2robot.vision.costs import Cost, cost
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.s2 import S2

_BULK = 8  # frames at once


@dataclass(frozen=True)
class Speed:
    """Measured on this machine: latency of one frame (ms), and frames/s of several at once; medians."""

    latency_ms: float
    frames_per_s: float


@dataclass
class Candidate:
    """One row of the table.

    Attributes:
        larger: whether it is the larger of the two models.
        errors: pooling -> (E,), mean error of each episode with all demos that there are outside a fold.
        probes: pooling -> its learning curve, points of `demos`, `mean` and `standard_error`.
        reconstruction: of the larger model's features, `all` and `change`: see `reconstruct.py`.
        costs: `parameters`, `macs` and those of `Speed`.
    """

    extractor: FeatureExtractor
    larger: bool
    errors: dict[str, np.ndarray] = field(default_factory=dict)
    probes: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    reconstruction: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`S² on mvp-tiny-sim (224+448)`."""
        prefix = "S² on " if len(self.extractor.sizes) > 1 else ""
        return f"{prefix}{self.extractor.encoder.name} ({self.extractor.scales})"

    @cached_property
    def cost(self) -> Cost:
        """Of one frame."""
        encoder, side = self.extractor.encoder, self.extractor.encoder.architecture.image_size
        return cost(S2(encoder, self.extractor.sizes, tile=side, prefix_tokens=encoder.prefix_tokens))

    def weigh(self, frames: np.ndarray, repeats: int) -> None:
        """Takes its costs, on frames (F, H, W, 3)."""
        speed = measure(self.extractor, frames, repeats)
        self.costs = {"parameters": self.cost.parameters, "macs": self.cost.macs} | asdict(speed)

    def probe(
        self,
        features: torch.Tensor,
        probe_set: ProbeSet,
        pooling: str,
        curve: Sequence[int],
        *,
        folds: int,
        steps: int,
        seed: int,
        head_cache: HeadCache,
    ) -> None:
        """Trains heads on each number of demos of `curve`, or takes those of the cache; the last counts for
        `errors`.
        """
        self.probes[pooling], shape = [], self.extractor.map_shape(probe_set.frames.shape[1:3])
        for demos in curve:
            own = {"features": self.extractor.identity, "pooling": pooling, "demos": demos}
            own |= {"folds": folds, "steps": steps, "seed": seed}
            title = f"{self.name}, {demos} demos:"
            train = partial(
                cross_validate, features, shape, probe_set, pooling, folds, steps, seed, demos, title
            )
            distances = head_cache.get(own, train)
            errors = self.errors[pooling] = probe_set.by_episode(distances)
            error = float(errors.std(ddof=1) / np.sqrt(len(errors)))
            point = {"demos": demos, "mean": float(errors.mean()), "standard_error": error}
            self.probes[pooling].append(point)

    def as_json(self) -> dict[str, Any]:
        encoder = self.extractor.encoder
        who = {"name": self.name, "encoder": encoder.name, "sizes": list(self.extractor.sizes)}
        found = {
            "probes": self.probes,
            "errors_by_episode": self.errors,
            "reconstruction": self.reconstruction,
        }
        return who | {"larger": self.larger, "weights_sha256": encoder.weights_sha256} | self.costs | found


def measure(extractor: FeatureExtractor, frames: np.ndarray, repeats: int) -> Speed:
    """Of `extractor` on frames (F, H, W, 3), after one call of each kind that does not count."""
    one, many = frames[:1], frames[:_BULK]
    latency, bulk = (_seconds(extractor, batch, repeats) for batch in (one, many))
    return Speed(1e3 * latency, len(many) / bulk)


def _seconds(extractor: FeatureExtractor, frames: np.ndarray, repeats: int) -> float:
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        extractor(frames)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def curve_points(wanted: Sequence[int], probe_set: ProbeSet, folds: int, seed: int) -> list[int]:
    """Numbers of demos to train heads on: those wanted below what every fold leaves, and that."""
    episodes = len(np.unique(probe_set.episode))
    left = episodes - max(len(part) for part in fold_episodes(probe_set, folds, seed))
    return [*(n for n in sorted(set(wanted)) if n < left), left]
