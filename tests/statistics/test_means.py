"""Intervals of means of bounded scores, checked by simulation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from mistakes import refusal

from s2robot.statistics.means import anytime_mean_interval, bootstrap_interval

DRAWN: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "skewed": lambda rng, n: rng.beta(1, 4, n),
    "two values": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "uniform": lambda rng, n: rng.random(n),
}
MEANS = {"skewed": 0.2, "two values": 0.2, "uniform": 0.5}


@pytest.mark.parametrize("name", DRAWN)
def test_the_anytime_interval_misses_at_any_look_less_often_than_it_may(name: str) -> None:
    rng = np.random.default_rng(0)
    # What any look excludes stays excluded: the last interval lies in all before it.
    limits = [anytime_mean_interval(DRAWN[name](rng, 60), 0.9) for _ in range(200)]
    ever_missed = sum(not low <= MEANS[name] <= high for low, high in limits)
    assert ever_missed <= 200 * 0.1


@pytest.mark.parametrize("name", DRAWN)
def test_the_bootstrap_interval_holds_about_as_often_as_it_says(name: str) -> None:
    rng = np.random.default_rng(0)
    limits = [bootstrap_interval(DRAWN[name](rng, 50), 0.9) for _ in range(150)]
    held = np.mean([low <= MEANS[name] <= high for low, high in limits])
    assert 0.82 <= held <= 0.97


def test_the_anytime_interval_narrows_and_lies_within_the_bounds() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.1, 0.05, 400).clip(-1, 1)
    few, many = (anytime_mean_interval(values[:n], bounds=(-1, 1)) for n in (20, 400))
    assert -1 <= few[0] < many[0] < 0.1 < many[1] < few[1] <= 1
    assert many[1] - many[0] < 0.2
    looks = [anytime_mean_interval(values[:n], bounds=(-1, 1)) for n in (10, 50, 200, 400)]
    assert all(a[0] <= b[0] and b[1] <= a[1] for a, b in pairwise(looks))
    assert anytime_mean_interval([0.0] * 200)[0] == 0.0 and anytime_mean_interval([1.0] * 200)[1] == 1.0


def test_mistakes_are_told_in_one_line() -> None:
    assert refusal(lambda: bootstrap_interval([])).startswith("0 values")
    assert refusal(lambda: anytime_mean_interval([0.5, 1.5])) == "values from 0.5 to 1.5: expected 0.0 to 1.0"
    assert "confidence 1.5" in refusal(lambda: bootstrap_interval([0.5], 1.5))
