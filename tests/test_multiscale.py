"""S²: equal to a plain reference, one scale and one tile at a time, over everything that can be chosen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import refusal
from torch import Tensor, nn

from s2robot.vision.multiscale import S2, multiscale_forward

PATCH = 4


class SmallModel(nn.Module):
    """Patches mixed with each other and with their place; prefix tokens made of the whole tile."""

    def __init__(self, layout: str, prefix_tokens: int, channels: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Conv2d(3, channels, PATCH, PATCH)
            self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.layout, self.prefix_tokens = layout, prefix_tokens
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        x = self.mix(self.embed(images).tanh()).tanh()
        if self.layout == "bchw":
            return x
        tokens = x.flatten(2).transpose(1, 2)
        prefix = [tokens.mean(1, keepdim=True) * (i + 1) for i in range(self.prefix_tokens)]
        return torch.cat([*prefix, tokens], dim=1)


def reference(
    model: nn.Module,
    images: Tensor,
    sizes: list[int],
    *,
    tile: int,
    prefix_tokens: int,
    layout: str,
    resize_to: int,
    merge: str,
    split: bool,
) -> Tensor:
    """One image, one scale, one tile at a time."""
    whole = []
    for image in images:
        prefixes, maps = [], []
        for size in sizes:
            scaled = image[None]
            if image.shape[-1] != size:
                scaled = F.interpolate(scaled, (size, size), mode="bicubic", align_corners=False)
            count = math.ceil(size / tile) if split else 1
            side = size // count
            rows, prefix = [], []
            for i in range(count):
                row = []
                for j in range(count):
                    out = model(scaled[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side])[0]
                    if layout == "bnc":
                        prefix.append(out[:prefix_tokens])
                        n = math.isqrt(len(out) - prefix_tokens)
                        out = out[prefix_tokens:].reshape(n, n, -1).permute(2, 0, 1)
                    row.append(out)
                rows.append(torch.cat(row, dim=2))
            maps.append(torch.cat(rows, dim=1))
            prefixes.append(sum(prefix) / len(prefix) if prefix else None)
        target = maps[resize_to].shape[1:]
        maps = [F.interpolate(m[None], target, mode="area")[0] for m in maps]
        merged = torch.cat(maps) if merge == "concat" else sum(maps)
        if layout == "bnc":
            merged = merged.flatten(1).T
            if prefix_tokens:
                merged = torch.cat([torch.cat(prefixes, -1) if merge == "concat" else sum(prefixes), merged])
        whole.append(merged)
    return torch.stack(whole)


@settings(max_examples=60)
@given(data=st.data())
def test_it_equals_the_plain_reference(data: st.DataObject) -> None:
    tile = PATCH * data.draw(st.integers(1, 4), label="patches a tile")
    sizes = [tile * factor for factor in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))]
    layout = data.draw(st.sampled_from(["bnc", "bchw"]))
    prefix_tokens = data.draw(st.integers(0, 2)) if layout == "bnc" else 0
    options: dict[str, Any] = {
        "tile": tile,
        "prefix_tokens": prefix_tokens,
        "layout": layout,
        "resize_to": data.draw(st.integers(-len(sizes), len(sizes) - 1)),
        "merge": data.draw(st.sampled_from(["concat", "add"])),
        "split": data.draw(st.booleans()),
    }
    side = data.draw(st.sampled_from([tile, 2 * tile, 3 * tile, 17]))
    max_tiles = data.draw(st.none() | st.integers(1, 7))
    seed = data.draw(st.integers(0, 1000))
    images = torch.rand(data.draw(st.integers(1, 3)), 3, side, side, generator=torch.manual_seed(seed))
    model = SmallModel(layout, prefix_tokens)
    with torch.no_grad():
        features = multiscale_forward(model, images, sizes, max_tiles=max_tiles, **options)
        largest = max(model.batches)
        expected = reference(model, images, sizes, **options)
    assert features.shape == expected.shape
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert max_tiles is None or largest <= max_tiles


def test_all_tiles_of_one_shape_share_a_forward() -> None:
    model = SmallModel("bnc", 0)
    multiscale_forward(model, torch.rand(2, 3, 16, 16), [8, 16, 24], tile=8)
    assert model.batches == [2 * (1 + 4 + 9)]


def test_scales_are_sizes_relative_to_the_tile() -> None:
    model, images = SmallModel("bnc", 1), torch.rand(1, 3, 16, 16)
    relative = multiscale_forward(model, images, scales=[1, 2], tile=8, prefix_tokens=1)
    assert torch.equal(relative, multiscale_forward(model, images, [8, 16], tile=8, prefix_tokens=1))


def test_the_module_binds_its_options() -> None:
    model, images = SmallModel("bchw", 0), torch.rand(1, 3, 16, 16)
    bound = S2(model, sizes=(8, 16), tile=8, layout="bchw", merge="add")
    expected = multiscale_forward(model, images, (8, 16), tile=8, layout="bchw", merge="add")
    assert torch.equal(bound(images), expected)
    assert dict(bound.named_parameters()).keys() == {f"model.{n}" for n, _ in model.named_parameters()}


def test_half_precision_images_give_half_precision_features() -> None:
    model, images = SmallModel("bnc", 1).to(torch.bfloat16), torch.rand(1, 3, 16, 16).to(torch.bfloat16)
    assert multiscale_forward(model, images, [8, 16], tile=8, prefix_tokens=1).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((1, 3, 16, 8), {}, "images of shape (1, 3, 16, 8): expected square images"),
        ((3, 16, 16), {}, "images of shape (3, 16, 16)"),
        ((1, 3, 16, 16), {"sizes": []}, "sizes=(): expected at least one"),
        ((1, 3, 16, 16), {"sizes": [8, 0]}, "sizes=(8, 0)"),
        ((1, 3, 16, 16), {"sizes": [8, 19]}, "size 19 does not divide into 3 x 3 tiles"),
        ((1, 3, 16, 16), {"sizes": [8], "scales": [1]}, "sizes=(8,) and scales=(1,) were both given"),
        ((1, 3, 16, 16), {"layout": "bcwh"}, "unknown layout 'bcwh': did you mean 'bchw'?"),
        ((1, 3, 16, 16), {"merge": "mul"}, "unknown merge 'mul'"),
        ((1, 3, 16, 16), {"resize_to": 2}, "resize_to=2: expected the index of one of the 2 scales"),
        ((1, 3, 16, 16), {"layout": "bchw", "prefix_tokens": 1}, "prefix_tokens=1: a bchw"),
        ((1, 3, 16, 16), {"prefix_tokens": 2}, "the model gave 5 tokens, 2 of them prefix tokens"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_one_line(shape: tuple[int, ...], options: dict[str, Any], said: str) -> None:
    model = SmallModel("bnc", 1)
    options = {"sizes": [8, 16], "tile": 8, **options}
    assert refusal(lambda: multiscale_forward(model, torch.rand(shape), **options)).startswith(said)


def test_uint8_images_are_refused() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    message = refusal(lambda: multiscale_forward(SmallModel("bnc", 0), images, [8], tile=8))
    assert message.startswith("images of dtype torch.uint8")
