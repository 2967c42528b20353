"""Statistics, normalising and back."""

from __future__ import annotations

import numpy as np
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
    normalizer = Normalizer(3, Statistics.of(arrays, floor=1e-2))
    values = torch.from_numpy(np.concatenate(arrays))
    torch.testing.assert_close(normalizer.inverse(normalizer(values)), values, rtol=1e-4, atol=1e-3)


def test_all_steps_of_all_episodes_count_alike() -> None:
    short, long = np.full((1, 2), [0.0, 4.0]), np.full((3, 2), [8.0, 4.0])
    statistics = Statistics.of([short, long], floor=0.5)
    np.testing.assert_allclose(statistics.mean, [6.0, 4.0])
    np.testing.assert_allclose(
        statistics.std, [np.sqrt(12.0), 0.5], err_msg="the floor under what is constant"
    )


def test_what_was_normalised_has_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal([5.0, -0.1], [3.0, 0.2], (n, 2)) for n in (10, 300)]
    normalised = Normalizer(2, Statistics.of(arrays, floor=1e-2))(torch.from_numpy(np.concatenate(arrays)))
    torch.testing.assert_close(normalised.mean(0), torch.zeros(2).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(2).double(), rtol=0, atol=1e-4)


def test_the_noise_of_an_entry_that_hardly_moves_is_not_blown_up() -> None:
    still = 0.7 + 1e-6 * np.random.default_rng(0).standard_normal((50, 1))
    normalised = Normalizer(1, Statistics.of([still], floor=1e-2))(torch.from_numpy(still))
    assert normalised.abs().max() < 1e-3


def test_statistics_of_float32_are_exact_far_from_zero() -> None:
    values = np.array([[1e6], [1e6 + 1]], np.float32)
    assert Statistics.of([values], floor=1e-3).std == 0.5


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
    statistics = Statistics.of([np.array([[1.0, 2.0], [3.0, 2.0]])], floor=0.1)
    assert statistics.to_dict() == {"mean": [2.0, 2.0], "std": [1.0, 0.1]}
