"""Learning rate and weight decay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from s2robot.utils.schedule import cosine, parameter_groups


@given(st.integers(0, 50), st.integers(1, 200))
def test_it_rises_to_one_and_falls_to_zero(warmup: int, rest: int) -> None:
    steps = warmup + rest
    factors = [cosine(step, steps, warmup) for step in range(steps + 1)]
    assert factors[:warmup] == pytest.approx([(i + 1) / warmup for i in range(warmup)])
    assert factors[warmup] == 1
    assert all(
        later < earlier for earlier, later in zip(factors[warmup:], factors[warmup + 1 :], strict=False)
    )
    assert factors[-1] == pytest.approx(0)


def test_half_way_down_it_is_a_half() -> None:
    assert cosine(60, 110, 10) == pytest.approx(0.5)


def test_a_warmup_longer_than_the_run_stays_linear() -> None:
    assert [cosine(step, 2, 4) for step in range(2)] == [0.25, 0.5]


def test_weight_decay_is_for_matrices_and_frozen_parts_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[2].requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model[0].weight)]
    assert {id(p) for p in plain["params"]} == {id(model[0].bias), id(model[1].weight), id(model[1].bias)}
