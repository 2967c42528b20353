"""Paired differences and Holm's correction, against published examples and against what they must satisfy."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal

from s2robot.statistics import holm, mcnemar, newcombe, wilson
from s2robot.statistics.paired import Pairs

tables = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


# Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014), and the authors' own programs: airway
# hyper-responsiveness before and after transplantation; complete response before and after consolidation.
PUBLISHED = [((1, 1, 7, 12), (-0.507, -0.026), 5e-4), ((59, 6, 16, 80), (-0.1186, -0.0046), 5e-5)]


@pytest.mark.parametrize(("table", "interval", "digits"), PUBLISHED)
def test_published_intervals_of_a_paired_difference(table, interval, digits):
    assert newcombe(*outcomes(*table)) == pytest.approx(interval, abs=1.01 * digits)


def test_published_test_of_a_paired_difference():
    """Approval of a prime minister at two polls; Agresti, Categorical Data Analysis, section 10.1."""
    poll = outcomes(794, 150, 86, 570)
    assert Pairs.of(*poll).difference == pytest.approx(0.04)
    assert newcombe(*poll) == pytest.approx((0.021, 0.058), abs=1.1e-3), (
        "Agresti's Wald interval, near enough"
    )
    assert mcnemar(*poll) == pytest.approx(3.7e-5, rel=0.01)
    assert mcnemar(*outcomes(1, 1, 7, 12)) == pytest.approx(0.0703, abs=5e-5)


def test_without_a_correlation_it_is_the_interval_of_independent_rates():
    """Newcombe, Statistics in Medicine 17 (1998), pp. 873-890, method 10: 56/70 against 48/80."""
    (p, low, high), (q, q_low, q_high) = ((k / n, *wilson(k, n)) for k, n in ((56, 70), (48, 80)))
    separate = (
        p - q - sqrt((p - low) ** 2 + (q_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - q_low) ** 2),
    )
    assert separate == pytest.approx((0.0524, 0.3339), abs=5e-5)
    a, b = outcomes(24, 16, 6, 4)  # rates 0.8 and 0.6, no correlation at all
    (p, low, high), (q, q_low, q_high) = ((k / 50, *wilson(k, 50)) for k in (40, 30))
    expected = (
        p - q - sqrt((p - low) ** 2 + (q_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - q_low) ** 2),
    )
    assert newcombe(a, b) == pytest.approx(expected)


@given(tables, st.floats(0.5, 0.999))
def test_the_interval_is_around_the_difference_and_turns_with_the_policies(table, confidence):
    a, b = outcomes(*table)
    low, high = newcombe(a, b, confidence)
    difference = (sum(a) - sum(b)) / len(a)
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
    assert newcombe(b, a, confidence) == pytest.approx((-high, -low))


@given(tables)
def test_more_confidence_and_fewer_positions_make_it_wider(table):
    def width(confidence: float, times: int) -> float:
        low, high = newcombe(*outcomes(*(times * count for count in table)), confidence)
        return high - low

    assert width(0.8, 1) < width(0.95, 1) < width(0.99, 1)
    assert width(0.95, 10) < width(0.95, 1)


def test_it_never_shrinks_to_nothing():
    """All succeed everywhere, with both policies: that tells something, not everything."""
    low, high = newcombe([True] * 16, [True] * 16)
    assert -0.2 < low < -0.15 and 0.15 < high < 0.2


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni_s(p):
    adjusted = holm(p)
    for value, corrected in zip(p, adjusted, strict=True):
        assert value <= corrected <= min(1.0, len(p) * value)
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([True], [True, False], "1 outcomes against 2"),
        ([], [], "no outcomes"),
        ([1, 0], [True, False], "true and false"),
    ],
)
def test_outcomes_that_cannot_be_paired_are_refused(a, b, message):
    assert message in refusal(lambda: newcombe(a, b))


def test_an_impossible_confidence_is_refused():
    assert "confidence 95" in refusal(lambda: newcombe([True], [False], 95))
