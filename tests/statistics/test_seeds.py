"""Intervals over training seeds and positions: what makes them wide, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mistakes import refusal
from scipy.special import expit

from s2robot.statistics import newcombe, wilson
from s2robot.statistics.seeds import ArmDifference, ArmRate

shapes = st.tuples(st.integers(1, 4), st.integers(2, 20))
arms = shapes.flatmap(lambda shape: arrays(bool, shape))
two_arms = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 20)).flatmap(
    lambda n: st.tuples(arrays(bool, (n[0], n[2])), arrays(bool, (n[1], n[2])))
)


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@given(arms)
def test_the_rate_lies_in_its_interval(outcomes):
    arm = ArmRate.of(outcomes)
    low, high = arm.interval()
    assert arm.rate == pytest.approx(outcomes.mean())
    assert 0 <= low <= arm.rate <= high <= 1
    assert width(arm.interval(0.8)) < width(arm.interval(0.99))


@given(two_arms)
def test_a_difference_turns_with_its_arms_and_agrees_with_its_p(pair):
    forth, back = ArmDifference.of(*pair), ArmDifference.of(*pair[::-1])
    low, high = forth.interval()
    assert low - 1e-12 <= forth.difference <= high + 1e-12
    assert back.interval() == pytest.approx((-high, -low))
    p = forth.p()
    assert 0 < p <= 1
    assert back.p() == pytest.approx(p)
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (low > 0 or high < 0)


def test_one_seed_on_many_positions_is_nearly_newcombe_s_interval():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.9, rng.random(400) < 0.8
    assert ArmDifference.of(a[None], b[None]).interval() == pytest.approx(newcombe(a, b), abs=2e-3)
    assert ArmRate.of(a[None]).interval() == pytest.approx(wilson(int(a.sum()), 400), abs=2e-3)


def test_seeds_that_only_repeat_each_other_tell_nothing_new():
    once = np.random.default_rng(1).random((1, 100)) < 0.8
    assert ArmRate.of(np.repeat(once, 3, axis=0)).interval() == pytest.approx(ArmRate.of(once).interval())


def test_seeds_that_differ_make_it_wider():
    """60, 90 and 120 of 150 in all, spread evenly over the seeds or not."""
    rng = np.random.default_rng(2)
    alike = np.array([rng.permutation(np.arange(50) < 30) for _ in range(3)])
    apart = np.array([rng.permutation(np.arange(50) < k) for k in (20, 30, 40)])
    assert ArmRate.of(alike).of_seeds == 0 < ArmRate.of(apart).of_seeds
    assert width(ArmRate.of(apart).interval()) > 2 * width(ArmRate.of(alike).interval())


def test_positions_in_common_make_a_difference_sharper():
    """The same hard positions defeat both arms: what remains is the difference."""
    hard = np.arange(60) < 20
    a, b = np.tile(~hard, (3, 1)), np.tile(~hard, (3, 1))
    b[:, 20:26] = False
    shuffled = b[:, np.random.default_rng(3).permutation(60)]
    assert width(ArmDifference.of(a, b).interval()) < 0.8 * width(ArmDifference.of(a, shuffled).interval())


def test_all_successes_do_not_make_it_sure():
    arm = ArmRate.of(np.ones((3, 16), bool))
    assert arm.interval()[0] == pytest.approx(0.78, abs=0.02), "as 16 trials, not as 48"
    low, high = ArmDifference.of(np.ones((3, 16), bool), np.ones((3, 16), bool)).interval()
    assert low < -0.15 and high > 0.15


def draw(rng: np.random.Generator, logits: tuple[float, float], of_seeds: float) -> ArmDifference:
    """Two arms of 3 trainings each on the same 60 positions, some harder, some harder for one arm."""
    common = rng.normal(0, 1, 60)
    tables = [
        rng.random((3, 60)) < expit(logit + common + rng.normal(0, of_seeds, (3, 1)) + rng.normal(0, 0.5, 60))
        for logit in logits
    ]
    return ArmDifference.of(*tables)


@pytest.mark.parametrize("of_seeds", [0.0, 0.5, 1.0])
def test_intervals_hold_the_truth_about_as_often_as_they_say(of_seeds):
    logits = (2.5, 1.5)
    rng = np.random.default_rng(4)
    spread = rng.normal(0, np.sqrt(1 + of_seeds**2 + 0.5**2), 400_000)
    truth = expit(logits[0] + spread).mean() - expit(logits[1] + spread).mean()
    intervals = [draw(rng, logits, of_seeds).interval() for _ in range(400)]
    held = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.91 < held < 0.995, "95 % is meant; 400 draws tell it to 0.011"


def test_equal_arms_are_seldom_told_apart():
    rng = np.random.default_rng(5)
    false_alarms = np.mean([draw(rng, (2.0, 2.0), 0.5).p() < 0.05 for _ in range(300)])
    assert false_alarms < 0.09, "0.05 is meant; 300 draws tell it to 0.013"


def test_its_variances_are_those_of_more_positions_and_of_more_seeds():
    rng = np.random.default_rng(6)
    drawn = [draw(rng, (2.0, 1.0), 1.0) for _ in range(200)]
    estimated = np.mean([d.of_seeds + d.of_positions for d in drawn])
    seen = np.var([d.difference for d in drawn])
    assert estimated == pytest.approx(seen, rel=0.3)
    assert np.mean([d.of_seeds for d in drawn]) > np.mean([d.of_positions for d in drawn])


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([[True], [False]], "at least 2 positions"),
        ([True, False], "shape (2,)"),
        ([[1, 0]], "true and false"),
        (np.zeros((0, 4), bool), "shape (0, 4)"),
    ],
)
def test_other_tables_are_refused(outcomes, message):
    assert message in refusal(lambda: ArmRate.of(outcomes))


def test_arms_on_other_positions_are_refused():
    assert "3 positions against 4" in refusal(
        lambda: ArmDifference.of(np.ones((1, 3), bool), np.ones((1, 4), bool))
    )


def test_an_impossible_confidence_is_refused():
    assert "confidence 95" in refusal(lambda: ArmRate.of(np.ones((1, 3), bool)).interval(95))
