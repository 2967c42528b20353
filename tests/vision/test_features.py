"""From frames to features: the same for a frame alone as in a batch, and an identity for what makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from s2robot.core.errors import UserError
from s2robot.utils.provenance import has_bf16
from s2robot.vision.encoders.precision import to_bf16
from s2robot.vision.encoders.registry import load_encoder
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.s2 import multiscale_forward
from s2robot.vision.scales import ResizeTo


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def test_features_are_those_of_the_encoder_at_each_scale(frames: np.ndarray) -> None:
    extractor = FeatureExtractor("random-tiny", [224, 448], bf16=False)
    images = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = multiscale_forward(load_encoder("random-tiny"), images, [224, 448], prefix_tokens=1)
    features = extractor(frames)
    assert features.dtype == np.float16
    assert features.shape == (2, *extractor.shape) == (2, 197, 2 * 192)
    np.testing.assert_allclose(features, expected.numpy(), atol=2e-2)


def test_frames_of_cameras_need_not_be_square() -> None:
    extractor = FeatureExtractor("random-tiny", [224, 448], bf16=False)
    assert extractor(np.zeros((1, 480, 640, 3), np.uint8)).shape == (1, *extractor.shape)
    for shape in ((1, 720, 1280, 3), (1, 90, 60, 3)):
        assert extractor(np.zeros(shape, np.uint8)).shape == (1, *extractor.shape)


@pytest.mark.parametrize(("resize_to", "grid"), [(-1, (4, 4)), (1, (4, 4)), (0, (2, 2)), ((3, 5), (3, 5))])
def test_the_map_has_the_grid_that_was_asked_for(
    frames: np.ndarray, resize_to: ResizeTo, grid: tuple[int, int]
) -> None:
    extractor = FeatureExtractor("random-tiny", [32, 64], bf16=False, resize_to=resize_to)
    images = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        encoder = load_encoder("random-tiny", image_size=32)
        expected = multiscale_forward(
            encoder, images, (32, 64), tile=32, prefix_tokens=1, resize_to=resize_to
        )
    features = extractor(frames)
    assert extractor.map_shape() == (*grid, 2 * 192) and features.shape == (2, *extractor.shape)
    np.testing.assert_allclose(features, expected.numpy(), atol=2e-2)


def test_the_grid_is_part_of_the_identity_where_it_is_not_the_first_scales() -> None:
    keys = [
        FeatureExtractor("random-tiny", sizes, bf16=False, resize_to=resize_to).key
        for sizes in ([32, 64], [32])
        for resize_to in (0, -1, (4, 4))
    ]
    assert len(set(keys)) == 5 and keys[3] == keys[4], "one scale has one grid"
    assert keys[1] == FeatureExtractor("random-tiny", [32, 64], bf16=False, resize_to=1).key
    with pytest.raises(UserError, match="resize_to=2: expected the index of one of the 2 scales"):
        FeatureExtractor("random-tiny", [32, 64], resize_to=2)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_frame_alone_has_the_features_it_has_in_a_batch(frames: np.ndarray, bf16: bool) -> None:
    extractor = FeatureExtractor("random-tiny", [224], bf16=bf16)
    alone = np.concatenate([extractor(frame[None]) for frame in frames])
    np.testing.assert_allclose(alone, extractor(frames), atol=0.05 if bf16 else 5e-3)


def test_bf16_is_near_to_float32(frames: np.ndarray) -> None:
    exact, quick = (
        FeatureExtractor("random-tiny", [224], bf16=b)(frames).astype(float) for b in (False, True)
    )
    assert np.abs(exact - quick).mean() < 0.02 * np.abs(exact).mean()
    assert not np.array_equal(exact, quick)


@pytest.mark.parametrize("sizes", [(64,), (64, 128)])
def test_a_long_batch_has_the_features_of_its_frames_in_their_order(sizes: tuple[int, ...]) -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (23, 14, 14, 3), np.uint8)
    frames = coarse.repeat(16, 1).repeat(16, 2)
    extractor = FeatureExtractor("random-tiny", sizes, bf16=False)
    alone = np.concatenate([extractor(frame[None]) for frame in frames])
    np.testing.assert_allclose(extractor(frames), alone, atol=5e-3)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["mvp-tiny-sim", "random-timm:test_vit"])
def test_bf16_of_a_vit_is_nearer_to_float32_than_the_whole_model_in_bf16(name: str, fused: bool) -> None:
    exact, whole, ours = (load_encoder(name) for _ in range(3))
    cells = exact.architecture.image_size // 16
    coarse = np.random.default_rng(0).integers(0, 256, (2, cells, cells, 3), np.uint8)
    images = torch.from_numpy(coarse.repeat(16, 1).repeat(16, 2))
    whole.vit.to(torch.bfloat16)
    to_bf16(ours.vit, fused=fused)
    errors = [(encoder(images).float() - exact(images)).abs().mean() for encoder in (whole, ours)]
    assert 0 < errors[1] < errors[0] / 2


def test_on_a_processor_attention_in_bf16_is_in_single_steps() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (2, 224, 224, 3), np.uint8)
    fused, steps = (load_encoder("random-tiny") for _ in range(2))
    to_bf16(fused.vit, fused=True)
    to_bf16(steps.vit, fused=False)
    ours = FeatureExtractor("random-tiny", [224], bf16=True)(frames)
    one, other = (encoder(torch.from_numpy(frames)).to(torch.float16).numpy() for encoder in (fused, steps))
    assert np.array_equal(ours, other) and not np.array_equal(ours, one)
    np.testing.assert_allclose(one, other, atol=0.05)


def test_a_model_that_is_no_vit_is_bf16_as_a_whole(frames: np.ndarray) -> None:
    extractor = FeatureExtractor("random-timm:test_convnext", [64], bf16=True)
    assert {p.dtype for p in extractor.encoder.parameters()} == {torch.bfloat16}
    assert extractor(frames).shape == (2, *extractor.shape)


def test_reversed_frames_are_read_as_they_are(frames: np.ndarray) -> None:
    extractor = FeatureExtractor("random-tiny", [224], bf16=False)
    mirrored = frames[:, :, ::-1]  # a view with a negative stride
    assert np.array_equal(extractor(mirrored), extractor(mirrored.copy()))


def test_the_key_is_of_everything_that_decides_the_features(tmp_path: Path) -> None:
    state = load_encoder("random-tiny").vit.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "same.safetensors")
    state["cls_token"] = state["cls_token"] + 1e-3
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "other.safetensors")
    made = {
        "plain": FeatureExtractor("random-tiny", [224]),
        "same weights from a file": FeatureExtractor("tiny", [224], str(tmp_path / "same.safetensors")),
        "other weights": FeatureExtractor("tiny", [224], str(tmp_path / "other.safetensors")),
        "other sizes": FeatureExtractor("random-tiny", [224, 448]),
        "other compute": FeatureExtractor("random-tiny", [224], bf16=not has_bf16()),
    }
    keys = {name: extractor.key for name, extractor in made.items()}
    assert keys["plain"] == keys.pop("same weights from a file")
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 16 for key in keys.values())


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2robot.vision.encoders.engine.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"openvino: `pip install 's2robot\[openvino\]'`"):
        FeatureExtractor("random-tiny", [32], engine="openvino")


@pytest.mark.parametrize(("bf16", "least"), [(False, 0.99999), (True, 0.999)])
def test_openvino_gives_the_features_of_torch(frames: np.ndarray, bf16: bool, least: float) -> None:
    pytest.importorskip("openvino")
    exact = FeatureExtractor("mvp-tiny-sim", [224], bf16=False)
    other = FeatureExtractor("mvp-tiny-sim", [224], bf16=bf16, engine="openvino")
    a, b = (torch.from_numpy(extractor(frames)).float() for extractor in (exact, other))
    assert torch.nn.functional.cosine_similarity(a, b, dim=-1).min() > least
    assert other.key != exact.key and other.identity["compute"] == f"{'bf16' if bf16 else 'fp32'} by openvino"
