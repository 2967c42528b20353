"""Episodes unlike all others (outliers), and episodes nearly the same as another (near-duplicates)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from s2robot.core.spec import RobotSpec
from s2robot.data.episode import Episode
from s2robot.data.tools.stats import measured_rate

Held = Mapping[str, Episode]
"""Id -> an episode, whose frames are not used here."""

NEAR = 0.05
"""Standard deviations: two episodes nearer to each other than this are near-duplicates."""

_FENCE = 3.0  # interquartile ranges beyond the quartiles: `far out` (Tukey, Exploratory Data Analysis, 1977)
_POINTS = 32  # of an episode, evenly spread, that are compared
_FLOOR = {"proprio": 1e-2, "action": 1e-3}  # what differs by less does not differ (m, rad)


@dataclass(frozen=True)
class Measure:
    """A number of each episode, and the least range that counts as one."""

    values: np.ndarray
    floor: float
    unit: str = ""


def outliers(episodes: Held, spec: RobotSpec) -> dict[str, list[str]]:
    """Id -> in words, each measure in which an episode is far out; episodes that are not are left out."""
    found: dict[str, list[str]] = {}
    for name, measure in _measures(episodes, spec).items():
        low, high = np.quantile(measure.values, [0.25, 0.75])
        reach = _FENCE * max(high - low, measure.floor)
        for index in np.flatnonzero((measure.values < low - reach) | (measure.values > high + reach)):
            usual = f"half of the episodes: {low:.3g} to {high:.3g}"
            what = f"{name} {measure.values[index]:.3g}{measure.unit} ({usual})"
            found.setdefault(list(episodes)[index], []).append(what)
    return found


def near_duplicates(episodes: Held) -> list[tuple[str, str, float]]:
    """Pairs of ids with their distance, nearest first.

    The distance is the root mean square difference of action and proprioception at the same share of both
    episodes, in the standard deviation of each entry over the store.
    """
    ids = list(episodes)
    if len(ids) < 2:
        return []
    distance = squareform(pdist(_shapes(episodes)))
    pairs = np.argwhere(np.triu(distance < NEAR, k=1))
    named = [(ids[i], ids[j], float(distance[i, j])) for i, j in pairs]
    return sorted(named, key=lambda pair: pair[2])


def _shapes(episodes: Held) -> np.ndarray:
    """(E, P): each episode at `_POINTS` moments, scaled so that the distance of two is the one described."""
    parts = []
    for name in _FLOOR:
        _, deviation = scale(episodes, name)
        arrays = [at_moments(getattr(episode, name), _POINTS) / deviation for episode in episodes.values()]
        parts.append(np.stack([array.ravel() for array in arrays]))
    shapes = np.concatenate(parts, axis=1)
    return shapes / np.sqrt(shapes.shape[1])


def at_moments(array: np.ndarray, points: int) -> np.ndarray:
    """An array (T, D) at moments evenly spread over the episode, interpolated: float64 (points, D)."""
    moments = np.linspace(0, len(array) - 1, points)
    return np.stack([np.interp(moments, np.arange(len(array)), column) for column in array.T], axis=1)


def _measures(episodes: Held, spec: RobotSpec) -> dict[str, Measure]:
    """Name -> the number of each episode."""
    held = list(episodes.values())
    lengths = np.array([episode.length for episode in held], float)
    period = 1 / spec.rate
    measures = {
        "length": Measure(lengths, 0.1 * float(np.median(lengths)), " steps"),
        "rate": Measure(
            np.array([measured_rate(e.time) or spec.rate for e in held]), 0.01 * spec.rate, " Hz"
        ),
        "longest step": Measure(np.array([_longest(e.time, period) for e in held]), 0.1 * period, " s"),
    }
    for name, labels in (("action", spec.action), ("proprio", spec.proprio)):
        _, deviation = scale(episodes, name)
        for entry, label in enumerate(labels):
            columns = [getattr(episode, name)[:, entry] for episode in held]
            for extreme, of in (("smallest", np.min), ("largest", np.max)):
                values = np.array([of(column) for column in columns], float)
                measures[f"{extreme} {name} '{label}'"] = Measure(values, float(deviation[entry]))
    return measures


def scale(episodes: Held, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry of `action` or `proprio` over the store: (D,) each."""
    steps = np.concatenate([getattr(episode, name) for episode in episodes.values()]).astype(np.float64)
    return steps.mean(axis=0), np.maximum(steps.std(axis=0), _FLOOR[name])


def _longest(time: np.ndarray, period: float) -> float:
    return float(np.diff(time).max()) if len(time) > 1 else period
