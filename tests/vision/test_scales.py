"""Where S² cuts an image of any size, and what it says to a wrong option, image or model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import refusal
from plain_s2 import Model, SmallModel, placed, vit
from torch import Tensor

from s2robot.core.errors import UserError
from s2robot.vision.s2 import S2, multiscale_forward


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(4, 20), st.integers(10, 60), st.integers(10, 60))
def test_any_size_of_any_image_makes_square_tiles(size: int, tile: int, height: int, width: int) -> None:
    seen: list[Tensor] = []

    def model(tiles: Tensor) -> Tensor:
        seen.append(tiles)
        return tiles

    features = multiscale_forward(model, torch.rand(1, 3, height, width), [size], tile=tile, layout="bchw")
    rows, columns, count = *placed(size, tile, True, height, width)[2:], math.ceil(size / tile)
    side = seen[0].shape[-1]
    assert seen[0].shape == (rows * columns, 3, side, side)
    assert features.shape[2:] == (rows * side, columns * side)
    assert min(rows, columns) == count
    assert side * count == size if size % count == 0 else side == tile


def test_its_repr_says_what_it_does() -> None:
    said = repr(S2(SmallModel("bnc", 1), (8, 16, 19), tile=8, prefix_tokens=1))
    assert "sizes=(8, 16, 19), tile=8, prefix_tokens=1\n" in said
    assert "8 x 8 px + 2 x 2 tiles of 8 x 8 px + 3 x 3 tiles of 8 x 8 px\n" in said
    assert "(model): SmallModel(" in said
    assert "16 x 16 px" in repr(S2(SmallModel("bnc", 1), (8, 16), tile=8, split=False))


BOUND = [
    ({"sizes": []}, "sizes=(): expected at least one"),
    ({"sizes": [8, 0]}, "sizes=(8, 0): expected at least one whole number of px"),
    ({"sizes": [0.5, 1]}, "sizes=(0.5, 1): expected at least one whole number of px; factors go to scales="),
    ({"scales": [1, 2]}, "sizes=(8, 16) and scales=(1, 2) were both given"),
    ({"sizes": None, "scales": [1, -1]}, "scales=(1, -1): expected at least one factor of tile=8"),
    ({"sizes": None, "scales": []}, "scales=(): expected at least one factor"),
    ({"tile": 0}, "tile=0: expected the side (px)"),
    ({"layout": "bcwh"}, "unknown layout 'bcwh': did you mean 'bchw'?"),
    ({"merge": "mul"}, "unknown merge 'mul'"),
    ({"resize_to": 2}, "resize_to=2: expected the index of one of the 2 scales"),
    ({"resize_to": -3}, "resize_to=-3: expected the index of one of the 2 scales"),
    ({"layout": "bchw", "prefix_tokens": 1}, "prefix_tokens=1: a bchw"),
    ({"prefix_tokens": -1}, "prefix_tokens=-1: expected 0 or more"),
    ({"max_tiles": 0}, "max_tiles=0: expected 1 or more"),
    ({"sizes": 16}, "sizes=16: expected a sequence, such as (224, 448)"),
    ({"sizes": [True]}, "sizes=(True,): expected at least one whole number of px"),
    ({"sizes": None, "scales": 2}, "scales=2: expected a sequence, such as (1, 2)"),
    ({"sizes": None, "scales": [1, math.nan]}, "scales=(1, nan): expected at least one factor"),
    ({"sizes": None, "scales": [1, math.inf]}, "scales=(1, inf): expected at least one factor"),
    ({"sizes": None, "scales": ["2"]}, "scales=('2',): expected at least one factor"),
    ({"sizes": None, "tile": 0}, "tile=0: expected the side (px)"),
    ({"tile": "8"}, "tile='8': expected the side (px)"),
    ({"tile": 8.5}, "tile=8.5: expected the side (px)"),
    ({"tile": (8, 8)}, "tile=(8, 8): expected the side (px)"),
    ({"prefix_tokens": "1"}, "prefix_tokens='1': expected 0 or more"),
    ({"resize_to": None}, "resize_to=None: expected the index"),
    ({"resize_to": 0.0}, "resize_to=0.0: expected the index"),
    ({"max_tiles": 2.5}, "max_tiles=2.5: expected 1 or more"),
    ({"max_tiles": True}, "max_tiles=True: expected 1 or more"),
    ({"split": "no"}, "split='no': expected True or False"),
    ({"antialias": 1}, "antialias=1: expected True or False"),
]


@pytest.mark.parametrize(("options", "said"), BOUND, ids=str)
def test_wrong_options_are_refused_before_any_image_is_seen(options: dict[str, Any], said: str) -> None:
    model = SmallModel("bnc", 1)
    options = {"sizes": [8, 16], "tile": 8, **options}
    assert refusal(lambda: S2(model, **options)).startswith(said)
    assert refusal(lambda: multiscale_forward(model, torch.rand(1, 3, 16, 16), **options)).startswith(said)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(3, 16, 16), "images of shape (3, 16, 16): expected (B, 3, H, W)"),
        (torch.rand(1, 3, 0, 16), "images of shape (1, 3, 0, 16): expected (B, 3, H, W)"),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
            "images of dtype torch.uint8: expected float (B, 3, H, W)",
        ),
        (torch.rand(1, 16, 16, 3), "images of shape (1, 16, 16, 3): expected (B, 3, H, W); their channels"),
        ([torch.rand(3, 16, 16)], "images of type list: expected a tensor"),
    ],
    ids=["no batch", "empty", "uint8", "channels last", "a list"],
)
def test_wrong_images_are_refused(images: Any, said: str) -> None:
    assert refusal(lambda: S2(SmallModel("bnc", 0), tile=8)(images)).startswith(said)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (
            SmallModel("bnc", 1),
            {},
            "the model gave 5 tokens for 8 x 8 px, 0 of them prefix tokens: the other 5",
        ),
        (SmallModel("bnc", 1), {"prefix_tokens": 2}, "no grid of that shape; prefix_tokens=1 would fit"),
        (
            SmallModel("bnc", 1),
            {"layout": "bchw"},
            "(5, 5, 5): expected (b, c, h, w); layout='bnc' takes tokens",
        ),
        (SmallModel("bchw", 0), {}, "(5, 5, 2, 2): expected (b, n, c); layout='bchw' takes feature maps"),
        (lambda x: x.mean((2, 3)), {}, "the model gave (5, 3): expected (b, n, c); these are pooled"),
        (lambda x: x[:1], {"layout": "bchw"}, "the model gave features of 1 images for 5 tiles"),
        (
            lambda x: x.mT.transpose(1, 3),
            {"layout": "bchw"},
            "(5, 8, 8, 3) for a square tile: expected (b, c, h",
        ),
        (
            lambda x: {"cls": x, "patches": x},
            {},
            "the model gave a dict with cls, patches: expected a tensor",
        ),
        (lambda x: (x,), {}, "the model gave a tuple: expected a tensor; wrap the model"),
    ],
    ids=["prefix", "prefixes", "tokens", "maps", "pooled", "batch", "channels last", "dict", "tuple"],
)
def test_a_model_that_gives_something_else_is_told_what_would_work(
    model: Model, options: dict[str, Any], said: str
) -> None:
    assert said in refusal(lambda: multiscale_forward(model, torch.rand(1, 3, 16, 16), tile=8, **options))


def test_a_models_own_error_says_what_it_was_given() -> None:
    s2 = S2(vit("vit_base_patch16_224", 64, global_pool=""), (64, 96), tile=64, prefix_tokens=1)
    with pytest.raises(AssertionError) as caught:
        s2(torch.rand(1, 3, 96, 96))
    assert not isinstance(caught.value, UserError)
    assert (
        "images of shape (4, 3, 48, 48), cut by Options(sizes=(64, 96), tile=64" in caught.value.__notes__[0]
    )


def test_what_is_no_model_is_refused() -> None:
    nothing: Any = None
    assert refusal(lambda: S2(nothing)).startswith("model=None: expected a module, a method")
    assert refusal(lambda: multiscale_forward(nothing, torch.rand(1, 3, 8, 8))).startswith("model=None: ")
