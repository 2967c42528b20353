"""Statistics, normalising and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s2robot.policy.normalize import Normalizer, Statistics

episodes = st.lists(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-100, 100, width=32)),
    min_size=1,
    max_size=4,
)


@given(episodes)
def test_back_and_forth_gives_the_values_again(arrays: list[np.ndarray]) -> None:
    normalizer = Normalizer(3, Statistics.of(arrays))
    values = torch.from_numpy(np.concatenate(arrays))
    torch.testing.assert_close(normalizer.inverse(normalizer(values)), values, rtol=1e-4, atol=1e-3)


@given(
    unit=st.floats(1e-5, 1e5),
    offset=st.floats(-3, 3),
    rough=st.floats(0, 1),
    positions=st.booleans(),
    seed=st.integers(0, 9),
)
def test_motion_has_unit_scale_in_any_unit(
    unit: float, offset: float, rough: float, positions: bool, seed: int
) -> None:
    """Smooth or not: what is normalised does not depend on the unit."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.standard_normal((4, 60, 2)), axis=1) / 5 + rough * rng.standard_normal((4, 60, 2))
    motion = list((walks + offset) * unit)
    normalised = Normalizer(2, Statistics.of(motion, positions=positions))(
        torch.from_numpy(np.concatenate(motion))
    )
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(2).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "size", [3e-4, 1e-3, 0.05, 100.0], ids=["0.3 mm", "1 mm, 1 mrad", "degrees", "large"]
)
def test_small_actions_are_no_noise(size: float) -> None:
    """Even where they change all the time: a command means what it says."""
    rng = np.random.default_rng(0)
    gripper = np.repeat([100.0, 0.0], 25)[:, None]
    arrays = [np.hstack([size * rng.standard_normal((50, 3)), gripper]) for _ in range(5)]
    labels = ("dx [m]", "dy [m]", "dz [m]", "gripper")
    statistics = Statistics.of(arrays, labels)
    normalised = Normalizer(4, statistics)(torch.from_numpy(np.concatenate(arrays)))
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(4).double(), rtol=1e-3, atol=0)
    assert statistics.remarks == ()


@pytest.mark.parametrize("positions", [True, False])
def test_the_noise_of_a_resting_joint_is_not_scaled_up_and_named(positions: bool) -> None:
    rng = np.random.default_rng(0)
    moving = np.cumsum(rng.standard_normal((5, 50, 1)), axis=1)
    arrays = list(np.concatenate([moving, 90 + 0.05 * rng.standard_normal((5, 50, 1))], axis=2))
    statistics = Statistics.of(arrays, ("joint1 [deg]", "joint2 [deg]"), positions=positions)
    normalised = Normalizer(2, statistics)(torch.from_numpy(np.concatenate(arrays)))
    np.testing.assert_allclose(normalised[:, 0].std(correction=0), 1, rtol=1e-3)
    assert normalised[:, 1].std() < 0.1
    assert statistics.remarks == ("white noise, not scaled up: joint2 [deg] = 90 +- 0.05",)


def test_a_joint_that_rests_at_zero_is_compared_with_those_of_its_unit() -> None:
    rng = np.random.default_rng(0)
    moving = 30 * np.sin(np.linspace(0, 3, 200))
    array = np.column_stack([moving, *(0.05 * rng.standard_normal((2, 200)))])
    labels = ("joint1 [deg]", "joint2 [deg]", "force [N]")
    std = Statistics.of([array], labels, positions=True).std
    assert array[:, 1].std() / std[1] < 0.2
    np.testing.assert_allclose(std[2], array[:, 2].std())
    np.testing.assert_allclose(
        Statistics.of([array], ("s[0]", "s[1]", "s[2]"), positions=True).std, array.std(0)
    )


def test_a_fine_movement_far_from_zero_is_no_noise() -> None:
    """2 mm of smooth motion at 0.5 m, and a joint that rests elsewhere in each episode."""
    rng = np.random.default_rng(0)
    fine = 0.5 + 0.002 * np.sin(np.linspace(0, 6, 100))
    arrays = [np.column_stack([fine, 90 + 0.3 * k + 0.02 * rng.standard_normal(100)]) for k in range(5)]
    statistics = Statistics.of(arrays, positions=True)
    np.testing.assert_allclose(statistics.std, np.concatenate(arrays).std(0))
    assert statistics.remarks == ()


def test_a_constant_entry_is_named_left_out_and_given_back() -> None:
    arrays = [np.column_stack([np.arange(5.0), np.full(5, 0.3, np.float32)]) for _ in range(3)]
    statistics = Statistics.of(arrays, ("dx [m]", "dz [m]"))
    assert statistics.remarks == ("constant: dz [m] = 0.3",)
    normalizer = Normalizer(2, statistics)
    assert normalizer(torch.tensor([[9.0, 123.0]]))[0, 1] == 0
    assert normalizer.inverse(torch.tensor([[0.0, 50.0]]))[0, 1] == pytest.approx(0.3)


def test_an_outlier_does_not_set_the_scale_and_is_named() -> None:
    motion = np.cumsum(np.random.default_rng(0).standard_normal((3000, 1)), axis=0)
    broken = motion.copy()
    broken[1234] = 1e7
    statistics = Statistics.of([broken], ("joint1 [rad]",), positions=True)
    np.testing.assert_allclose(statistics.std, motion.std(0), rtol=0.05)
    np.testing.assert_allclose(statistics.mean, motion.mean(0), rtol=0.05)
    assert statistics.remarks == ("outliers, clipped for the scale: joint1 [rad]",)


def test_a_rare_event_keeps_its_scale() -> None:
    pressed = np.zeros((3000, 1))
    pressed[1500] = 1
    np.testing.assert_allclose(Statistics.of([pressed]).std, pressed.std(0))


def test_all_steps_of_all_episodes_count_alike() -> None:
    statistics = Statistics.of([np.full((1, 1), 0.0), np.full((3, 1), 8.0)])
    np.testing.assert_allclose(statistics.mean, [6.0])
    np.testing.assert_allclose(statistics.std, [np.sqrt(12.0)])


def test_what_was_normalised_has_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal([5.0, -0.1], [3.0, 0.2], (n, 2)) for n in (10, 300)]
    normalised = Normalizer(2, Statistics.of(arrays))(torch.from_numpy(np.concatenate(arrays)))
    torch.testing.assert_close(normalised.mean(0), torch.zeros(2).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(2).double(), rtol=0, atol=1e-4)


def test_statistics_of_float32_are_exact_far_from_zero() -> None:
    values = np.array([[1e6], [1e6 + 1]], np.float32)
    assert Statistics.of([values]).std == 0.5


def test_without_statistics_nothing_changes() -> None:
    values = torch.randn(4, 3)
    assert torch.equal(Normalizer(3)(values), values)


def test_statistics_travel_with_the_weights() -> None:
    source = Normalizer(2, Statistics(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    target = Normalizer(2)
    target.load_state_dict(source.state_dict(), strict=True)
    values = torch.randn(5, 2)
    assert torch.equal(target(values), source(values))
    assert not list(source.parameters()), "nothing of it is trained"


def test_statistics_are_plain_numbers_for_json() -> None:
    statistics = Statistics.of([np.array([[1.0, 2.0], [3.0, 2.0]])])
    assert statistics.to_dict() == {"mean": [2.0, 2.0], "std": [1.0, 0.0]}
