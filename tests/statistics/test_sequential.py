"""Looking often: how often one is wrong is measured, with the fixed-size test beside it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from s2robot.statistics import mcnemar, newcombe
from s2robot.statistics.power import positions_paired
from s2robot.statistics.sequential import anytime_interval, anytime_p, positions_anytime

LOOKS, RUNS = 150, 400
tables = st.tuples(*[st.integers(0, 40)] * 4).filter(any)


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def counts(only_first: float, only_second: float, seed: int) -> np.ndarray:
    """(runs, looks, 2): after each position, where only the first and where only the second has succeeded."""
    drawn = np.random.default_rng(seed).random((RUNS, LOOKS))
    steps = np.stack([drawn < only_first, drawn > 1 - only_second], axis=-1)
    return steps.cumsum(axis=1)


@cache
def p_values(only_first: int, only_second: int) -> tuple[float, float]:
    """Anytime-valid and McNemar's, which depend on these counts alone."""
    pair = outcomes(1, only_first, only_second, 0)
    return anytime_p(*pair), mcnemar(*pair)


def least(history: np.ndarray) -> np.ndarray:
    """(runs, 2): the smallest p at any look, of both tests."""
    return np.array([[p_values(*look) for look in map(tuple, run)] for run in history.tolist()]).min(axis=1)


def test_equal_policies_are_wrongly_told_apart_at_any_look_one_time_in_twenty_at_most():
    anytime, naive = (least(counts(0.15, 0.15, seed=1)) <= 0.05).mean(axis=0)
    assert anytime <= 0.05
    assert naive > 0.15, "the test would notice"


def test_different_policies_are_told_apart_before_the_end():
    history = counts(0.30, 0.10, seed=2)
    stopped = np.array([[p_values(*look)[0] <= 0.05 for look in map(tuple, run)] for run in history.tolist()])
    assert stopped.any(axis=1).mean() > 0.8
    assert np.median(stopped.argmax(axis=1)[stopped.any(axis=1)]) < LOOKS / 2


@pytest.mark.parametrize(("only_first", "only_second"), [(0.25, 0.0625), (0.3, 0.0), (0.1, 0.35)])
def test_so_many_positions_as_are_planned_find_the_difference_four_times_in_five(
    only_first: float, only_second: float
) -> None:
    def power(positions: int | None) -> float:
        assert positions is not None
        shares = [only_first, only_second, 1 - only_first - only_second]
        drawn = np.random.default_rng(4).multinomial(positions, shares, size=2000)
        return float(np.mean([p_values(int(a), int(b))[0] <= 0.05 for a, b, _ in drawn]))

    assert power(positions_anytime(only_first, only_second)) == pytest.approx(0.8, abs=0.03)
    assert power(positions_paired(only_first, only_second)) < 0.65, "planned for one look"


def test_no_number_of_positions_tells_equal_policies_apart() -> None:
    assert positions_anytime(0.2, 0.2) is None


def test_many_positions_are_planned_at_once() -> None:
    assert positions_anytime(0.11, 0.10) == 3 * (positions_paired(0.11, 0.10) or 0)


def test_the_interval_holds_the_true_difference_at_all_looks_together():
    history = counts(0.20, 0.05, seed=3)[:100, 9::10]
    interval = cache(lambda a, b, n: anytime_interval(*outcomes(n - a - b, a, b, 0)))
    missed = [
        any(
            not low <= 0.15 <= high
            for (a, b), n in zip(run, range(10, LOOKS + 1, 10), strict=True)
            for low, high in [interval(a, b, n)]
        )
        for run in history.tolist()
    ]
    assert np.mean(missed) <= 0.05


@given(tables)
def test_it_is_wider_than_the_interval_of_one_look_and_turns_with_the_policies(table):
    a, b = outcomes(*table)
    low, high = anytime_interval(a, b)
    assert -1 <= low <= (sum(a) - sum(b)) / len(a) <= high <= 1
    one_look = newcombe(a, b)
    assert high - low > one_look[1] - one_look[0]
    assert anytime_interval(b, a) == pytest.approx((-high, -low))
    assert anytime_p(a, b) == pytest.approx(anytime_p(b, a))


@given(tables)
def test_interval_and_p_value_agree(table):
    a, b = outcomes(*table)
    low, high = anytime_interval(a, b)
    if low > 0 or high < 0:
        assert anytime_p(a, b) <= 0.05


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (6, 0), (12, 3), (20, 20), (40, 10)])
def test_the_p_value_is_the_mixture_over_all_coins(only_first, only_second):
    """Over all biases of a coin alike, the wealth is 2^n B(a + 1, b + 1)."""
    n = only_first + only_second
    wealth = np.exp(n * np.log(2) + betaln(only_first + 1, only_second + 1))
    assert anytime_p(*outcomes(3, only_first, only_second, 5)) == pytest.approx(min(1, 1 / wealth), rel=0.01)
