"""timm's models as encoders: their own features, as 1 + N tokens, frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from mistakes import refusal
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from s2robot.vision import S2, load_encoder
from s2robot.vision.features import FeatureExtractor

# name: side, patch side, width, has a class token, other prefix tokens, mean, deviation
MODELS = {
    "test_vit": (160, 16, 64, True, 0, 0.5, 0.5),
    "test_vit3": (160, 16, 96, False, 1, 0.5, 0.5),
    "deit_tiny_distilled_patch16_224": (224, 16, 192, True, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "test_convnext": (160, 32, 64, False, 0, 0.5, 0.5),
    "test_mambaout": (160, 32, 64, False, 0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def frames(size: int) -> Tensor:
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_the_models_features(name: str) -> None:
    size, patch, width, has_cls, others, mean, std = MODELS[name]
    encoder = load_encoder(f"random-timm:{name}")
    a = encoder.architecture
    assert (a.image_size, a.patch_size, a.width, a.grid) == (size, patch, width, size // patch)
    images = frames(size)
    tokens = encoder(images)
    assert tokens.shape == (2, 1 + a.grid**2, width)
    mean, std = (torch.tensor(x).expand(3).view(3, 1, 1) for x in (mean, std))
    vit: Any = encoder.vit
    with torch.no_grad():
        features = vit.forward_features((images.permute(0, 3, 1, 2) / 255 - mean) / std)
    if name == "test_convnext":
        features = torch.stack([features[:, :, i, j] for i in range(a.grid) for j in range(a.grid)], dim=1)
    if name == "test_mambaout":
        features = torch.stack([features[:, i, j] for i in range(a.grid) for j in range(a.grid)], dim=1)
    patches = features[:, has_cls + others :]
    torch.testing.assert_close(tokens[:, 1:], patches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        tokens[:, 0], features[:, 0] if has_cls else patches.mean(1), atol=1e-5, rtol=1e-5
    )


def test_it_stays_frozen_and_is_the_same_every_time() -> None:
    state = torch.get_rng_state()
    encoder = load_encoder("random-timm:test_efficientnet")  # it has batch norms
    assert torch.equal(torch.get_rng_state(), state)
    nn.Sequential(encoder).train()
    before, images = encoder(frames(160)), frames(160)
    assert torch.equal(encoder(images), before)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(m.training for m in encoder.modules())
    assert load_encoder("random-timm:test_efficientnet").weights_sha256 == encoder.weights_sha256


def test_another_image_size_interpolates_the_positions() -> None:
    own, other = load_encoder("random-timm:test_vit"), load_encoder("random-timm:test_vit", image_size=96)
    assert other(frames(96)).shape == (2, 1 + 6 * 6, 64)
    positions: Any = own.vit.pos_embed
    expected = resample_abs_pos_embed(positions, [6, 6], num_prefix_tokens=1)
    torch.testing.assert_close(other.vit.pos_embed, expected)
    assert not any(p.requires_grad for p in other.parameters())
    assert other.weights_sha256 == own.weights_sha256
    convolutions = load_encoder("random-timm:test_convnext", image_size=96)
    assert convolutions(frames(96)).shape == (2, 1 + 3 * 3, 64)


def test_a_refused_image_size_leaves_it_as_it_was() -> None:
    encoder = load_encoder("random-timm:test_vit")
    before = encoder(frames(160))
    assert "17" in refusal(lambda: encoder.set_image_size(17))
    assert torch.equal(encoder(frames(160)), before)


def test_positions_are_interpolated_once() -> None:
    encoder = load_encoder("random-timm:test_vit", image_size=96)
    message = refusal(lambda: encoder.set_image_size(160))
    assert message == "random-timm:test_vit was fitted to 96 px: load it anew with image_size=160"
    convolutions = load_encoder("random-timm:test_convnext")
    before = convolutions(frames(160))
    convolutions.set_image_size(96)
    convolutions.set_image_size(160)
    assert torch.equal(convolutions(frames(160)), before)


def test_a_side_that_the_patch_does_not_divide() -> None:
    extractor = FeatureExtractor("random-timm:test_convnext", (100,), bf16=False)
    assert extractor(np.zeros((1, 100, 100, 3), np.uint8)).shape[1:] == extractor.shape


def test_s2_around_it() -> None:
    encoder = load_encoder("random-timm:test_vit", image_size=80)
    features = S2(encoder, (80, 160), tile=80, prefix_tokens=encoder.prefix_tokens)(
        torch.rand(1, 3, 160, 160)
    )
    assert features.shape == (1, 1 + 25, 128)
    extractor = FeatureExtractor("random-timm:test_vit", (80, 160), bf16=False)
    assert extractor.shape == (26, 128)
    assert extractor.identity["tile"] == 80
    assert extractor(np.zeros((3, 64, 64, 3), np.uint8)).shape == (3, 26, 128)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    model: Any = timm.create_model("test_vit").eval()  # with its classifier
    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        save_file(model.state_dict(), path)
    encoder = load_encoder("timm:test_vit", path)
    images = frames(160)
    with torch.no_grad():
        features = model.forward_features((images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
    torch.testing.assert_close(encoder(images), features, atol=1e-5, rtol=1e-5)
    message = refusal(lambda: load_encoder("timm:test_vit2", path))
    assert message.startswith(f"{path} as 'timm:test_vit2': ")


def test_without_its_weights_it_is_not_made(capfd: pytest.CaptureFixture[str]) -> None:
    message = refusal(lambda: load_encoder("timm:test_vit"))  # conftest: no network, and none in the cache
    assert message.startswith("cannot make timm:test_vit: ")
    assert message.endswith("give checkpoint=PATH, or random-timm:test_vit for a random initialisation")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    assert refusal(lambda: load_encoder("timm:test_vitt")).startswith(
        "unknown timm model 'test_vitt': did you mean timm:test_vit"
    )
    assert "random-timm:test_vit has weights of its own" in refusal(
        lambda: load_encoder("random-timm:test_vit", tmp_path / "x.pth")
    )
    message = refusal(lambda: load_encoder("random-timm:crossvit_9_240"))
    assert message == "random-timm:crossvit_9_240 gives list of a square image: no square grid of features"
    message = refusal(lambda: load_encoder("random-timm:test_vit", image_size=8))
    assert message.startswith("random-timm:test_vit does not run at 8 x 8 px") or "no square grid" in message
    assert "no such tag" in refusal(lambda: load_encoder("timm:test_vit.no such tag"))
