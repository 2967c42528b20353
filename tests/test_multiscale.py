"""S²: equal to a plain reference, one scale and one tile at a time, over everything that can be chosen."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import refusal
from torch import Tensor, nn

from s2robot.errors import UserError
from s2robot.vision.multiscale import S2, multiscale_forward

PATCH = 4
Model = Callable[[Tensor], Tensor]


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
    model: Model,
    images: Tensor,
    sizes: list[int],
    *,
    tile: int,
    prefix_tokens: int = 0,
    layout: str = "bnc",
    resize_to: int = 0,
    merge: str = "concat",
    split: bool = True,
) -> Tensor:
    """One image, one scale, one tile at a time."""
    whole = []
    for image in images:
        prefixes, maps = [], []
        for size in sizes:
            height, width, rows, columns = placed(size, tile, split, *image.shape[1:])
            scaled = F.interpolate(image[None], (height, width), mode="bicubic", align_corners=False)
            lines, prefix = [], []
            for row in scaled.chunk(rows, dim=2):
                line = []
                for piece in row.chunk(columns, dim=3):
                    out = model(piece)[0]
                    if layout == "bnc":
                        prefix.append(out[:prefix_tokens])
                        out = out[prefix_tokens:].T.reshape(out.shape[1], *patches(piece, len(out)))
                    line.append(out)
                lines.append(torch.cat(line, dim=2))
            maps.append(torch.cat(lines, dim=1))
            prefixes.append(torch.stack(prefix).mean(0) if prefix else torch.empty(0))
        target = maps[resize_to].shape[1:]
        maps = [F.interpolate(m[None], target, mode="area")[0] for m in maps]
        merged = torch.cat(maps) if merge == "concat" else torch.stack(maps).sum(0)
        if layout == "bnc":
            merged = merged.flatten(1).T
            if prefix_tokens:
                added = torch.stack(prefixes).sum(0)
                merged = torch.cat([torch.cat(prefixes, -1) if merge == "concat" else added, merged])
        whole.append(merged)
    return torch.stack(whole)


def placed(size: int, tile: int, split: bool, height: int, width: int) -> tuple[int, ...]:
    """Height and width (px), rows and columns of tiles of a scale."""
    short, shape = math.ceil(size / tile), Fraction(max(height, width), min(height, width))
    long = min(
        range(short, math.ceil(short * shape) + 1),
        key=lambda count: (abs(Fraction(count, short) - shape), -count),
    )
    if split and size % short:
        size = short * tile
    sides, counts = (size, size * long // short), ((short, long) if split else (1, 1))
    return (*sides, *counts) if height <= width else (*sides[::-1], *counts[::-1])


def patches(piece: Tensor, tokens: int) -> tuple[int, int]:
    """The patch grid of a tile for which a model gave so many tokens, a few of them prefix tokens."""
    side = next(p for p in range(1, 99) if (piece.shape[2] // p) * (piece.shape[3] // p) <= tokens)
    return piece.shape[2] // side, piece.shape[3] // side


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
    height = data.draw(st.sampled_from([tile, 2 * tile, 3 * tile, 17]))
    width = data.draw(st.sampled_from([height, height, 40, 7]))
    max_tiles = data.draw(st.none() | st.integers(1, 7))
    seed = data.draw(st.integers(0, 1000))
    images = torch.rand(data.draw(st.integers(1, 2)), 3, height, width, generator=torch.manual_seed(seed))
    model = SmallModel(layout, prefix_tokens)
    with torch.no_grad():
        features = multiscale_forward(model, images, sizes, max_tiles=max_tiles, **options)
        largest = max(model.batches)
        expected = reference(model, images, sizes, **options)
    assert features.shape == expected.shape
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert max_tiles is None or largest <= max_tiles


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


@pytest.mark.parametrize(
    ("given_", "sizes", "tile"),
    [
        ({}, [224, 448], 224),
        ({"tile": 64}, [64, 128], 64),
        ({"scales": (0.5, 1, 2), "tile": 64}, [32, 64, 128], 64),
        ({"scales": (1, 2, 3), "tile": 48, "resize_to": 1}, [48, 96, 144], 48),
        ({"scales": (1, 1.5)}, [224, 336], 224),
        ({"sizes": (256, 512, 1024)}, [256, 512, 1024], 256),
        ({"sizes": (112, 224)}, [112, 224], 224),
        ({"sizes": (448, 672), "tile": 224}, [448, 672], 224),
    ],
    ids=str,
)
def test_odd_scale_sets(given_: dict[str, Any], sizes: list[int], tile: int) -> None:
    model = nn.Conv2d(3, 2, 16, 16)
    images = torch.rand(1, 3, 60, 60)
    with torch.no_grad():
        features = multiscale_forward(model, images, layout="bchw", **given_)
        expected = reference(
            model, images, sizes, tile=tile, layout="bchw", resize_to=given_.get("resize_to", 0)
        )
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def vit(name: str, size: int, **options: Any) -> Any:
    """A timm ViT of that kind, small and untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"img_size": size, "embed_dim": 32, "depth": 2, "num_heads": 2}
        return timm.create_model(name, num_classes=0, **shape, **options).eval()


def convnext() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)).eval()


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (vit("vit_base_patch16_224", 64, global_pool=""), {"tile": 64, "prefix_tokens": 1}),
        (vit("vit_base_patch14_reg4_dinov2", 56).forward_features, {"tile": 56, "prefix_tokens": 5}),
        (vit("vit_base_patch16_clip_224", 64).forward_features, {"tile": 64, "prefix_tokens": 1}),
        (convnext().forward_features, {"tile": 64, "layout": "bchw"}),
        (lambda images: F.avg_pool2d(images, 8), {"tile": 64, "layout": "bchw"}),
    ],
    ids=["ViT", "DINOv2 with registers", "CLIP", "ConvNeXt", "function"],
)
def test_one_line_puts_it_on_any_model(model: Model, options: dict[str, Any]) -> None:
    images, tile = torch.rand(2, 3, 70, 70), options["tile"]
    with torch.no_grad():
        features = S2(model, scales=(1, 2), **options)(images)
        expected = reference(model, images, [tile, 2 * tile], **options)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
        plain = F.interpolate(images, (tile, tile), mode="bicubic")
        first = features.chunk(2, dim=1 if options.get("layout") == "bchw" else 2)[0]
        torch.testing.assert_close(first, model(plain), atol=1e-5, rtol=1e-5)


def test_without_splitting_a_vit_sees_the_whole_of_every_scale() -> None:
    model = vit("vit_base_patch16_224", 64, global_pool="", dynamic_img_size=True)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        features = S2(model, tile=64, prefix_tokens=1, split=False)(images)
        whole = model(images)
    assert torch.equal(features[:, 0, 32:], whole[:, 0])
    pooled = F.avg_pool2d(whole[0, 1:].T.reshape(1, 32, 8, 8), 2).flatten(2).mT
    torch.testing.assert_close(features[:, 1:, 32:], pooled, atol=1e-5, rtol=1e-5)


def test_all_tiles_of_one_shape_share_a_forward() -> None:
    model = SmallModel("bnc", 0)
    multiscale_forward(model, torch.rand(2, 3, 16, 16), [8, 16, 24], tile=8)
    assert model.batches == [2 * (1 + 4 + 9)]
    model.batches.clear()
    multiscale_forward(model, torch.rand(2, 3, 16, 16), [4, 8, 16], tile=8)
    assert model.batches == [2 * 1, 2 * (1 + 4)]
    model.batches.clear()
    multiscale_forward(model, torch.rand(2, 3, 16, 32), [8, 16], tile=8, max_tiles=8)
    assert model.batches == [8, 8, 4]


def test_a_high_resolution_source_brings_its_own_pixels() -> None:
    model, images = SmallModel("bchw", 0), torch.rand(1, 3, 16, 16)
    native = multiscale_forward(model, images, [8, 16], tile=8, layout="bchw")
    tiles = torch.stack([images[0, :, i : i + 8, j : j + 8] for i in (0, 8) for j in (0, 8)])
    top_left = F.avg_pool2d(model(tiles)[:1], 2)
    torch.testing.assert_close(native[:, 5:, :1, :1], top_left)
    upsampled = F.interpolate(images, (8, 8), mode="bicubic")
    assert (multiscale_forward(model, upsampled, [8, 16], tile=8, layout="bchw") - native).abs().max() > 0.01


def test_antialias_smooths_what_is_resampled_down() -> None:
    stripes = (torch.arange(64) % 4 == 0).float().expand(1, 3, 64, 64)
    plain, smooth = (
        multiscale_forward(lambda tiles: tiles, stripes, [16], tile=16, layout="bchw", antialias=a)
        for a in (False, True)
    )
    assert torch.equal(plain, F.interpolate(stripes, (16, 16), mode="bicubic"))
    inside = smooth[..., 2:-2]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.25), atol=0.02, rtol=0)
    assert plain.sub(0.25).abs().max() > 0.1


def test_the_module_binds_its_options() -> None:
    model, images = SmallModel("bchw", 0), torch.rand(1, 3, 16, 16)
    bound = S2(model, sizes=(8, 16), tile=8, layout="bchw", merge="add")
    expected = multiscale_forward(model, images, (8, 16), tile=8, layout="bchw", merge="add")
    assert torch.equal(bound(images), expected)
    assert dict(bound.named_parameters()).keys() == {f"model.{n}" for n, _ in model.named_parameters()}


def test_a_method_brings_its_module_along() -> None:
    model = vit("vit_base_patch16_224", 64)
    s2, images = S2(model.forward_features, tile=64, prefix_tokens=1), torch.rand(1, 3, 64, 64)
    assert {id(p) for p in s2.parameters()} == {id(p) for p in model.parameters()}
    copied = copy.deepcopy(s2).to(torch.float64)
    assert copied(images.double()).dtype == torch.float64
    assert s2(images).dtype == torch.float32
    copied.load_state_dict({name: torch.zeros_like(value) for name, value in s2.state_dict().items()})
    assert not copied(images.double()).any()


def test_its_repr_says_what_it_does() -> None:
    said = repr(S2(SmallModel("bnc", 1), (8, 16, 19), tile=8, prefix_tokens=1))
    assert "sizes=(8, 16, 19), tile=8, prefix_tokens=1\n" in said
    assert "8 x 8 px + 2 x 2 tiles of 8 x 8 px + 3 x 3 tiles of 8 x 8 px\n" in said
    assert "(model): SmallModel(" in said
    assert "16 x 16 px" in repr(S2(SmallModel("bnc", 1), (8, 16), tile=8, split=False))


def test_gradients_reach_the_model_from_every_scale() -> None:
    model = SmallModel("bnc", 1)
    features = S2(model, (8, 16), tile=8, prefix_tokens=1)(torch.rand(2, 3, 16, 16))
    for part in features.chunk(2, dim=-1):
        (gradient,) = torch.autograd.grad(part.sum(), model.embed.weight, retain_graph=True)
        assert gradient.abs().max() > 0


def test_half_precision_images_give_half_precision_features() -> None:
    model, images = SmallModel("bnc", 1).to(torch.bfloat16), torch.rand(1, 3, 16, 16).to(torch.bfloat16)
    assert multiscale_forward(model, images, [8, 16], tile=8, prefix_tokens=1).dtype == torch.bfloat16


@pytest.mark.parametrize(("dtype", "near"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_autocast_is_the_models_alone(dtype: torch.dtype, near: float) -> None:
    s2 = S2(vit("vit_base_patch16_224", 64, global_pool=""), tile=64, prefix_tokens=1, merge="add")
    images = torch.rand(2, 3, 70, 70)
    with torch.no_grad():
        expected = s2(images)
        with torch.autocast("cpu", dtype):
            features = s2(images)
            alone = s2.model(images[..., :64, :64])
    assert features.dtype == alone.dtype
    assert 0 < (features.float() - expected).abs().max() < near * expected.abs().max()


def test_it_compiles_as_one_graph() -> None:
    s2 = S2(SmallModel("bnc", 1), (8, 16), tile=8, prefix_tokens=1, max_tiles=7)
    images = torch.rand(2, 3, 16, 16)

    def forward(images: Tensor) -> Tensor:
        return multiscale_forward(torch.tanh, images, scales=[1, 2, 3], tile=8, layout="bchw")

    with torch.no_grad():
        for function in (s2, forward):
            compiled = torch.compile(function, fullgraph=True, backend="eager")
            torch.testing.assert_close(compiled(images), function(images), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compilers_keep_its_features(backend: str, dynamic: bool) -> None:
    s2 = S2(vit("vit_base_patch16_224", 64, global_pool=""), tile=64, prefix_tokens=1)
    compiled = torch.compile(s2, fullgraph=True, dynamic=dynamic, backend=backend)
    with torch.no_grad():
        for batch in (2, 3):
            images = torch.rand(batch, 3, 70, 70)
            torch.testing.assert_close(compiled(images), s2(images), atol=1e-4, rtol=1e-4)


def test_an_exported_program_takes_any_batch() -> None:
    s2 = S2(vit("vit_base_patch14_reg4_dinov2", 56).forward_features, tile=56, prefix_tokens=5)
    batch = {"images": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(s2, (torch.rand(2, 3, 60, 60),), dynamic_shapes=batch).module()
    with torch.no_grad():
        for count in (1, 5):
            images = torch.rand(count, 3, 60, 60)
            torch.testing.assert_close(program(images), s2(images), atol=1e-5, rtol=1e-5)


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
    ],
    ids=["no batch", "empty", "uint8"],
)
def test_wrong_images_are_refused(images: Tensor, said: str) -> None:
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
