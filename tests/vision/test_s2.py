"""S²: equal to a plain reference, one scale and one tile at a time, over everything that can be chosen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_s2 import PATCH, Model, SmallModel, reference, vit
from torch import Tensor, nn

from s2robot.vision.s2 import S2, multiscale_forward


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


def test_a_replica_calls_its_own_copy() -> None:
    model, images = vit("vit_base_patch16_224", 64), torch.rand(1, 3, 64, 64)
    s2 = S2(model.forward_features, tile=64, prefix_tokens=1)
    replica: Any = s2._replicate_for_data_parallel()  # what nn.DataParallel puts on every device
    replica.model = copy.deepcopy(model)
    assert torch.equal(replica(images), s2(images))
    for parameter in replica.model.parameters():
        nn.init.zeros_(parameter)
    assert not replica(images).any()
    assert s2(images).any()


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
