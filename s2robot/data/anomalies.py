"""Anomalies of intact episodes: a camera that is stuck, an action far from all others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from s2robot.core.spec import RobotSpec

_STUCK_TIME = 0.5  # s of one and the same frame
_STUCK_TRAVEL = 0.25  # of what a proprioception entry travels in the episode, meanwhile
_STILL = 0.01  # m or rad: an entry that travels less in an episode stands still
_FEWEST = 10  # episodes that a usual range takes
_RANGE = re.compile(r"\[(-?[\d.]+)[^,\]]*,\s*(-?[\d.]+)[^,\]]*\]")  # `gripper [-1 open, 1 close]`


def stuck(same: np.ndarray, proprio: np.ndarray, spec: RobotSpec) -> Iterator[str]:
    """Where a camera gives one frame while the robot moves, in words.

    Args:
        same: bool (T,), whether a step's frame is, bit for bit, that of the step before.
        proprio: float32 (T, Dp).
    """
    for first, last in runs(same):
        travel = _travel(proprio, first, last)
        entry = int(np.argmax(travel))
        if last - first >= _STUCK_TIME * spec.rate and travel[entry] >= _STUCK_TRAVEL:
            moved = np.ptp(proprio[first : last + 1, entry])
            what = f"while '{spec.proprio[entry]}' moves by {moved:.3g}"
            yield f"the same frame from step {first} to {last}, {what}"


def runs(same: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last step of each run of equal steps; `same[t]`: step t is as the one before it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(int), [0]])))
    return [(int(start) - 1, int(stop) - 1) for start, stop in edges.reshape(-1, 2)]


def _travel(proprio: np.ndarray, first: int, last: int) -> np.ndarray:
    """(Dp,): the share of each entry's range over the episode that it goes through between two steps."""
    return np.ptp(proprio[first : last + 1], axis=0) / np.maximum(np.ptp(proprio, axis=0), _STILL)


def out_of_range(
    name: str, of_episodes: Mapping[str, np.ndarray], labels: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Episodes with actions (T, Da) beyond what the label says or far from all others; which, in words.

    Far: by more than twice the width of the range in which nine of ten (or more) episodes stay. What was
    asked for may exceed the label, since the robot takes no more than it can.
    """
    usual = _usual_ranges(list(of_episodes.values()), len(labels))
    for entry, label in enumerate(labels):
        said = _RANGE.search(label) if name == "action_applied" else None
        low, high = (float(said[1]), float(said[2])) if said else usual[entry]
        slack = 1e-6 if said else 2 * max(high - low, _STILL)
        why = f"expected {low:.4g} to {high:.4g}" if said else f"other episodes: {low:.4g} to {high:.4g}"
        for episode_id, array in of_episodes.items():
            excess = np.maximum(low - array[:, entry], array[:, entry] - high)
            step = int(np.argmax(excess))
            if excess[step] > slack:
                yield episode_id, f"{name}[{step}] '{label}' is {array[step, entry]:.4g}, {why}"


def _usual_ranges(arrays: list[np.ndarray], entries: int) -> list[tuple[float, float]]:
    """Of each entry, the range in which nine of ten episodes stay; any, where there are too few."""
    if len(arrays) < _FEWEST:
        return [(-np.inf, np.inf)] * entries
    lows = np.quantile([a.min(axis=0) for a in arrays], 0.1, axis=0, method="higher")
    highs = np.quantile([a.max(axis=0) for a in arrays], 0.9, axis=0, method="lower")
    return [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
