"""Poolings: one vector from a frame's tokens; some know where a token is, some do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from s2robot.core.errors import UserError
from s2robot.policy.pooling import POOLINGS, Dropout, Pooling, Standardize, make_pooling

TOKENS, CHANNELS, WIDTH = 1 + 16, 12, 8
SHAPE = (4, 4, CHANNELS)
SPATIAL = ("spatial_convolution", "spatial_projection", "spatial_softmax", "attention", "linear")


def pooling(name: str) -> Pooling:
    torch.manual_seed(0)
    return make_pooling(name, SHAPE, WIDTH)


def trained(name: str) -> Pooling:
    """With weights far from their small beginnings."""
    pool = pooling(name)
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.5)
    return pool


def tokens(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(1))


def swapped(given: torch.Tensor) -> torch.Tensor:
    """Two patches change places."""
    order = torch.arange(TOKENS)
    order[[3, 14]] = order[[14, 3]]
    return given[:, order]


def test_there_is_a_spatial_default_and_the_paths_of_the_papers() -> None:
    assert set(POOLINGS) == {*SPATIAL, "mean", "cls"}


@pytest.mark.parametrize("name", POOLINGS)
def test_one_vector_a_frame_whatever_the_batch(name: str) -> None:
    pool = pooling(name)
    together = pool(tokens())
    assert together.shape == (3, WIDTH)
    for i, frame in enumerate(tokens()):
        torch.testing.assert_close(pool(frame[None])[0], together[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPATIAL)
def test_spatial_poolings_tell_where_a_token_is(name: str) -> None:
    pool = trained(name)
    assert (pool(tokens()) - pool(swapped(tokens()))).abs().max() > 1e-2


def test_a_mean_does_not_tell_where_a_token_is() -> None:
    pool = trained("mean")
    torch.testing.assert_close(pool(tokens()), pool(swapped(tokens())), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*SPATIAL, "mean"])
def test_patches_alone_count(name: str) -> None:
    pool, other = pooling(name), tokens()
    other[:, 0] += 1
    assert torch.equal(pool(tokens()), pool(other))


def test_cls_alone_counts() -> None:
    pool, other = pooling("cls"), tokens()
    other[:, 1:] += 1
    assert torch.equal(pool(tokens()), pool(other))
    other[:, 0] += 1
    assert not torch.allclose(pool(tokens()), pool(other))


def what_the_mlp_is_given(pool: Pooling, frame: torch.Tensor) -> torch.Tensor:
    given: list[torch.Tensor] = []
    pool.mlp.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    pool(frame)
    return given[0]


@pytest.mark.parametrize(("name", "reach"), [("spatial_projection", 0), ("spatial_convolution", 1)])
def test_what_is_kept_of_a_patch_tells_of_its_neighbours(name: str, reach: int) -> None:
    frame, other = torch.zeros(1, TOKENS, CHANNELS), torch.zeros(1, TOKENS, CHANNELS)
    other[0, 1 + 4 * 1 + 1] = 1.0  # second row, second column of 4 x 4
    kept = (what_the_mlp_is_given(pooling(name), f).unflatten(1, (4, 4, -1)) for f in (frame, other))
    changed = torch.sub(*kept).abs().amax((0, 3)) > 1e-6
    row, column = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    assert torch.equal(changed, ((row - 1).abs() <= reach) & ((column - 1).abs() <= reach))


def test_a_convolution_reads_a_thing_alike_wherever_it_lies() -> None:
    thing = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(3))
    around = []
    for row, column in ((2, 2), (3, 3)):  # of 6 x 6
        frame = torch.zeros(1, 1 + 36, CHANNELS)
        frame[0, 1 + 6 * row + column] = thing
        torch.manual_seed(0)
        pool = make_pooling("spatial_convolution", (6, 6, CHANNELS), WIDTH)
        kept = what_the_mlp_is_given(pool, frame).unflatten(1, (6, 6, -1))
        around.append(kept[:, row - 1 : row + 2, column - 1 : column + 2])
    torch.testing.assert_close(*around)


def test_heat_maps_know_at_all_places_what_they_learned_at_some() -> None:
    """The row and column of a marked patch, learned on even cells of 6 x 8, read on the others."""
    thing = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(3))
    frames = 0.3 * torch.randn(48, 1 + 48, CHANNELS, generator=torch.Generator().manual_seed(4))
    frames[torch.arange(48), 1 + torch.arange(48)] += 3 * thing
    places = torch.cartesian_prod(torch.linspace(-1, 1, 6), torch.linspace(-1, 1, 8))
    seen = torch.arange(48) % 2 == 0

    def error_elsewhere(name: str) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(make_pooling(name, (6, 8, CHANNELS), 32), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            (model(frames[seen]) - places[seen]).abs().mean().backward()
            optimizer.step()
        with torch.inference_mode():
            return float((model(frames[~seen]) - places[~seen]).abs().mean())

    assert error_elsewhere("spatial_softmax") < 0.1
    assert error_elsewhere("spatial_convolution") > 0.2


@pytest.mark.parametrize("name", POOLINGS)
def test_a_grid_need_not_be_square(name: str) -> None:
    pool = make_pooling(name, (3, 5, CHANNELS), WIDTH)
    assert pool(torch.randn(2, 1 + 15, CHANNELS)).shape == (2, WIDTH)


@pytest.mark.parametrize(
    ("grid", "cells"), [((14, 14), 196), ((16, 16), 256), ((28, 28), 196), ((28, 42), 294)]
)
def test_a_convolution_of_a_fine_grid_leaves_an_mlp_as_small_as_of_a_coarse_one(
    grid: tuple[int, int], cells: int
) -> None:
    pool, frame = (
        make_pooling("spatial_convolution", (*grid, 3), WIDTH),
        torch.randn(1, 1 + grid[0] * grid[1], 3),
    )
    assert what_the_mlp_is_given(pool, frame).shape == (1, 16 * cells)
    changed = frame.clone()
    changed[0, -1] += 1  # no patch is left out
    assert not torch.equal(pool(changed), pool(frame))


@pytest.mark.parametrize("name", POOLINGS)
def test_what_is_trained_gets_a_gradient(name: str) -> None:
    pool = pooling(name)
    pool(tokens()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pool.parameters() if p.numel() > 1)


@pytest.mark.parametrize("name", POOLINGS)
def test_the_scale_of_the_encoder_does_not_matter_once_fitted(name: str) -> None:
    pool, scaled = pooling(name), pooling(name)
    pool.standardize.fit(tokens())
    scaled.standardize.fit(tokens() * 50 + 7)
    torch.testing.assert_close(pool(tokens()), scaled(tokens() * 50 + 7), rtol=1e-3, atol=1e-4)


@given(st.integers(0, 10_000))
def test_standardising_folded_into_a_layer_is_the_same(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(2, 5, 6, generator=generator) * torch.rand(6, generator=generator) * 10 + 3
    standardize, layer = Standardize(5, 6), nn.Linear(6, 4)
    standardize.fit(frames)
    torch.testing.assert_close(
        standardize.linear(frames, layer), layer(standardize(frames))[:, 1:], rtol=1e-4, atol=1e-4
    )


def test_in_bf16_no_mean_hides_a_small_deviation() -> None:
    """bf16 has eight bits: the mean is subtracted before."""
    frames = 50 + 0.1 * torch.randn(8, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(0))
    pool = pooling("spatial_convolution").eval()
    pool.standardize.fit(frames)
    with torch.autocast("cpu", torch.bfloat16):
        half = pool(frames)
    torch.testing.assert_close(half.float(), pool(frames), rtol=0.05, atol=0.05)


def test_dropout_keeps_the_mean_and_drops_only_in_training() -> None:
    drop, ones = Dropout(0.3), torch.ones(200, 500)
    torch.manual_seed(0)
    dropped = drop(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(drop.eval()(ones), ones)


def test_standardised_channels_have_mean_0_and_deviation_1_and_constants_stay_finite() -> None:
    frames = (
        torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 0.1, 0.0]) + 5
    )
    standardize = Standardize(4, 3)
    standardize.fit(frames.half())
    flat = standardize(frames).flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(3), rtol=0, atol=0.05)
    torch.testing.assert_close(flat.std(0), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=0.05)


@pytest.mark.parametrize("name", SPATIAL)
def test_what_a_camera_always_sees_at_a_place_cancels(name: str) -> None:
    background = 20 * torch.randn(1, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(2))
    plain, before_it = pooling(name), pooling(name)
    plain.standardize.fit(tokens(20))
    before_it.standardize.fit(tokens(20) + background)
    torch.testing.assert_close(plain(tokens()), before_it(tokens() + background), rtol=1e-3, atol=1e-4)


def test_an_unknown_pooling_is_told_with_the_valid_ones() -> None:
    with pytest.raises(UserError, match="unknown pooling 'atention': did you mean 'attention'?"):
        make_pooling("atention", SHAPE, WIDTH)
