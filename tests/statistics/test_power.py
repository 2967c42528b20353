"""Positions needed: against sums over all outcomes with scipy's own tests, and published figures."""

from __future__ import annotations

import doctest
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mistakes import refusal
from scipy.stats import binom, binomtest, fisher_exact, multinomial

from s2robot.statistics import power as module
from s2robot.statistics.power import (
    fisher_power,
    mcnemar_power,
    positions_over_seeds,
    positions_paired,
    positions_unpaired,
)

shares = st.floats(0.05, 0.95)


def test_the_paper_s_own_comparison_needs_many_more_positions():
    assert fisher_exact([[7, 9], [10, 6]]).pvalue == pytest.approx(0.48, abs=0.005)
    assert fisher_power(7 / 16, 10 / 16, 16) < 0.15
    needed = positions_unpaired(7 / 16, 10 / 16)
    assert needed == 123
    assert fisher_power(7 / 16, 10 / 16, needed - 1) < 0.8 <= fisher_power(7 / 16, 10 / 16, needed)
    assert doctest.testmod(module).attempted == 2
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("first", "second", "positions", "level"), [(0.3, 0.8, 9, 0.05), (0.1, 0.5, 12, 0.1)]
)
def test_fisher_s_power_is_the_sum_over_all_outcomes(first, second, positions, level):
    n = positions
    total = sum(
        binom.pmf(i, n, first) * binom.pmf(j, n, second)
        for i, j in product(range(n + 1), repeat=2)
        if fisher_exact([[i, n - i], [j, n - j]]).pvalue <= level
    )
    assert fisher_power(first, second, n, level) == pytest.approx(total)


@pytest.mark.parametrize(
    ("only_first", "only_second", "positions"), [(0.4, 0.1, 15), (0.5, 0.5, 9), (0.3, 0, 12)]
)
def test_mcnemar_s_power_is_the_sum_over_all_outcomes(only_first, only_second, positions):
    n = positions
    total = sum(
        multinomial.pmf([i, j, n - i - j], n, [only_first, only_second, 1 - only_first - only_second])
        for i, j in product(range(n + 1), repeat=2)
        if 0 < i + j <= n and binomtest(i, i + j).pvalue <= 0.05
    )
    assert mcnemar_power(only_first, only_second, n) == pytest.approx(total)


def test_published_powers():
    """Of R's packages: lrstat (0.25 v 0.05, 136 in all: 0.9); pwr_mcnemar (0.05, 0.45, 22 pairs: 0.8)."""
    assert fisher_power(0.25, 0.05, 68) == pytest.approx(0.898, abs=1e-3)
    assert mcnemar_power(0.05, 0.45, 22) == pytest.approx(0.8, abs=0.06), "his is an approximation"
    assert positions_unpaired(0.2, 0.5) == pytest.approx(45, abs=1), "Casagrande, Pike and Smith's formula"


@settings(max_examples=20)
@given(shares, shares)
def test_the_positions_found_have_the_power_and_few_less_do_not(first, second):
    assume(abs(first - second) > 0.25)
    needed = positions_unpaired(first, second)
    assert needed is not None
    assert all(fisher_power(first, second, n) >= 0.8 for n in range(needed, needed + 5))
    assert needed == 1 or fisher_power(first, second, needed - 1) < 0.8
    assert positions_unpaired(second, first) == needed


@settings(max_examples=20)
@given(shares, shares)
def test_the_paired_positions_found_have_the_power_and_few_less_do_not(only_first, only_second):
    assume(abs(only_first - only_second) > 0.2 and only_first + only_second <= 1)
    needed = positions_paired(only_first, only_second)
    assert needed is not None
    assert (
        mcnemar_power(only_first, only_second, needed)
        >= 0.8
        > mcnemar_power(only_first, only_second, needed - 1)
    )
    assert positions_paired(only_second, only_first) == needed


def test_pairing_saves_positions_where_the_policies_fail_at_the_same_ones():
    """Rates of 0.9 and 0.8; independent, or failing alone at 12 % and 2 % of the positions."""
    unpaired, paired = positions_unpaired(0.9, 0.8), positions_paired(0.12, 0.02)
    assert unpaired is not None and paired is not None
    assert paired < 0.6 * unpaired


def test_beyond_the_exact_sizes_the_approximation_goes_on():
    near = [positions_unpaired(0.5, 0.5 + gap) for gap in (0.14, 0.13, 0.12, 0.11)]
    paired = [positions_paired(0.2, 0.2 - gap) for gap in (0.1, 0.09, 0.08, 0.07)]
    for series in (near, paired):
        assert all(n is not None for n in series)
        squares = [n * gap**2 for n, gap in zip(series, (1, 0.92, 0.85, 0.77), strict=True)]  # type: ignore[operator]
        assert np.all(np.diff(series) > 0) and max(squares) < 1.3 * min(squares)  # type: ignore[arg-type]


def test_nothing_tells_equal_rates_apart():
    assert positions_unpaired(0.5, 0.5) is None
    assert positions_paired(0.1, 0.1) is None
    assert mcnemar_power(0.0, 0.0, 50) == 0.0
    assert fisher_power(0.5, 0.5, 20) <= 0.05


def test_seeds_that_differ_leave_a_doubt_that_positions_do_not_take_away():
    assert positions_over_seeds(0.1, of_seeds=0.0, of_positions=0.002, positions=100) == 157
    assert positions_over_seeds(0.1, of_seeds=0.001, of_positions=0.002, positions=100) == 730
    assert positions_over_seeds(0.1, of_seeds=0.002, of_positions=0.002, positions=100) is None
    assert positions_over_seeds(1.0, of_seeds=0.0, of_positions=0.0, positions=2) == 1
    assert positions_over_seeds(0.0, of_seeds=0.0, of_positions=0.002, positions=100) is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: fisher_power(1.2, 0.5, 10), "a share of 1.2"),
        (lambda: fisher_power(0.2, 0.5, 0), "0 positions"),
        (lambda: mcnemar_power(0.7, 0.5, 10), "together more than 1"),
        (lambda: positions_unpaired(0.2, 0.5, power=80), "power 80"),
        (lambda: positions_paired(0.2, 0.5, level=5), "level 5"),
        (lambda: positions_paired(0.2, 0.5, power=1), "power 1"),
    ],
)
def test_impossible_numbers_are_refused(action, message):
    assert message in refusal(action)
