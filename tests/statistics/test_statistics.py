"""Intervals and paired tests, against their definitions and against published values."""

from __future__ import annotations

from math import comb, sqrt
from statistics import NormalDist

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s2robot.core.errors import UserError
from s2robot.statistics import exact, mcnemar, wilson

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.5, 0.999)

# Newcombe, Statistics in Medicine 17 (1998), table I: successes, trials, Wilson, Clopper-Pearson.
PUBLISHED = [
    (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
    (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
    (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
    (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
]


@pytest.mark.parametrize(("successes", "trials", "by_wilson", "by_exact"), PUBLISHED)
def test_published_intervals(successes, trials, by_wilson, by_exact):
    assert wilson(successes, trials) == pytest.approx(by_wilson, abs=5.1e-5)
    assert exact(successes, trials) == pytest.approx(by_exact, abs=5.1e-5)


def test_twelve_of_sixteen():
    assert wilson(12, 16) == pytest.approx((0.505, 0.898), abs=5e-4)
    assert exact(12, 16) == pytest.approx((0.476, 0.927), abs=5e-4)


@given(counts, confidences)
def test_wilson_is_its_closed_form(count, confidence):
    successes, trials = count
    z, rate = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    middle = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    assert wilson(successes, trials, confidence) == pytest.approx((middle - half, middle + half), abs=1e-9)


@given(counts, confidences)
def test_exact_bounds_leave_half_the_doubt_on_each_side(count, confidence):
    successes, trials = count
    low, high = exact(successes, trials, confidence)
    doubt = (1 - confidence) / 2
    assert low == 0 if successes == 0 else at_least(successes, trials, low) == pytest.approx(doubt, rel=1e-6)
    misses = trials - successes
    assert high == 1 if misses == 0 else at_least(misses, trials, 1 - high) == pytest.approx(doubt, rel=1e-6)


def at_least(successes: int, trials: int, rate: float) -> float:
    chances = (comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1))
    return sum(chances)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120))
def test_mcnemar_is_a_fair_coin_over_the_positions_that_differ(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    differ = only_a + only_b
    tail = sum(comb(differ, k) for k in range(min(only_a, only_b) + 1)) / 2**differ
    assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_by_hand():
    assert mcnemar([True] * 16, [True] * 10 + [False] * 6) == pytest.approx(2 / 2**6)
    assert mcnemar([True, False], [True, False]) == 1.0


@given(counts)
def test_more_confidence_is_a_wider_interval(count):
    assume(0 < count[0] < count[1])
    for method in (wilson, exact):
        narrow, wide = method(*count, 0.8), method(*count, 0.99)
        assert wide[0] < narrow[0] < count[0] / count[1] < narrow[1] < wide[1]


@pytest.mark.parametrize("method", [wilson, exact])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "3 successes in 2 trials"),
        ((-1, 2), "-1 successes"),
        ((0, 0), "trials >= 1"),
        ((1.5, 2), "whole numbers"),
        ((1, 2, 95), "confidence 95"),
        ((1, 2, float("nan")), "confidence nan"),
    ],
)
def test_impossible_counts_are_refused(method, arguments, message):
    with pytest.raises(UserError, match=message):
        method(*arguments)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([True], [True, False], "1 outcomes against 2"),
        ([], [], "no outcomes"),
        ([0.5, 0.75], [True, False], "true and false"),
        ([[True]], [[True]], "shape"),
    ],
)
def test_outcomes_that_cannot_be_paired_are_refused(a, b, message):
    with pytest.raises(UserError, match=message):
        mcnemar(a, b)
