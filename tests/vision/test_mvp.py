"""MVP encoders: the features are those of the weights, the weights are frozen, wrong files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal
from plain_vit import plain_vit
from safetensors.torch import save_file
from torch import Tensor, nn

from s2robot.vision.encoders.encoder import Encoder, to_float
from s2robot.vision.encoders.mvp import ARCHITECTURES, EMBEDDED, WEIGHTS, sincos_position_embedding
from s2robot.vision.encoders.registry import load_encoder
from s2robot.vision.encoders.state import hash_weights


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return load_encoder("random-tiny")


def weights(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.vit.state_dict().items()}


@pytest.fixture
def frames() -> Tensor:
    return torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize("name", ["random-tiny", "random-small", *EMBEDDED])
def test_features_equal_a_forward_written_down(name: str, frames: Tensor) -> None:
    encoder = load_encoder(name)
    images = frames.permute(0, 3, 1, 2).float() / 255
    expected = plain_vit(weights(encoder), images, encoder.architecture.heads)
    torch.testing.assert_close(encoder(frames), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder(images), encoder(frames), atol=1e-5, rtol=1e-5)


def test_small_has_mvps_12_heads_and_they_matter(frames: Tensor) -> None:
    encoder = load_encoder("random-small")
    assert encoder.architecture.heads == 12
    with_6 = plain_vit(weights(encoder), to_float(frames), heads=6)
    assert (encoder(frames) - with_6).abs().max() > 1e-3


def test_every_architecture_is_mvps() -> None:
    table = {n: (a.width, a.depth, a.heads, a.image_size, a.grid) for n, a in ARCHITECTURES.items()}
    assert table == {
        "tiny": (192, 6, 3, 224, 14),
        "small": (384, 12, 12, 224, 14),
        "base": (768, 12, 12, 224, 14),
        "large": (1024, 24, 16, 256, 16),
    }


def test_it_stays_frozen_whatever_a_parent_is_told(tiny: Encoder, frames: Tensor) -> None:
    parent = nn.Sequential(tiny, nn.Linear(192, 1)).train()
    assert not any(module.training for module in tiny.modules())
    parent(frames).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in tiny.parameters())
    assert parent[1].weight.grad is not None
    before = hash_weights(tiny.vit.state_dict())
    torch.optim.AdamW(parent.parameters(), lr=1.0).step()
    assert hash_weights(tiny.vit.state_dict()) == before == tiny.weights_sha256


def test_random_encoders_are_the_same_every_time_and_leave_torchs_seed_alone() -> None:
    state = torch.get_rng_state()
    assert load_encoder("random-tiny").weights_sha256 == load_encoder("random-tiny").weights_sha256
    assert torch.equal(torch.get_rng_state(), state)


def test_the_embedded_encoder_fits_its_bounds_and_is_not_random(tiny: Encoder) -> None:
    encoder = load_encoder()
    file = WEIGHTS / "mvp-tiny-sim.safetensors"
    card = json.loads(file.with_suffix(".json").read_text())
    assert encoder.name == "mvp-tiny-sim"
    assert encoder.weights_sha256 == card["weights_sha256"], "feature caches are keyed by it"
    assert encoder.architecture.depth <= 12
    assert file.stat().st_size <= 12e6
    assert encoder.weights_sha256 != tiny.weights_sha256
    assert all(value.isfinite().all() for value in encoder.vit.state_dict().values())


def test_the_embedded_encoders_card_tells_the_published_probe() -> None:
    card = json.loads((WEIGHTS / "mvp-tiny-sim.json").read_text())
    published = Path(WEIGHTS).parents[3] / "docs/results/encoder_probe.json"
    results = [r for r in json.loads(published.read_text())["results"] if r["encoder"] == card["name"]]
    assert {r["weights_sha256"] for r in results} == {card["weights_sha256"]}
    for told, measured in zip(card["probe"]["results"], results, strict=True):
        for key, value in told.items():
            assert measured[key] == (pytest.approx(value, abs=1e-3) if isinstance(value, float) else value)


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_encoder_has_the_card_of_its_weights(name: str) -> None:
    card, losses = (
        json.loads((WEIGHTS / f"{name}.json").read_text()),
        f"pretrain_{name.replace('-', '_')}_losses",
    )
    encoder = load_encoder(name)
    assert (card["name"], card["weights_sha256"]) == (name, encoder.weights_sha256)
    assert card["parameters"] == sum(p.numel() for p in encoder.vit.parameters())
    published = json.loads((WEIGHTS.parents[3] / "docs" / "results" / f"{losses}.json").read_text())
    assert len(published) == card["recipe"]["steps"]
    assert card["final_loss"] == pytest.approx(np.mean(published[-200:]), abs=1e-4)


def test_the_hash_is_of_values_not_of_their_type_or_order(tiny: Encoder) -> None:
    half = {name: value.half() for name, value in weights(tiny).items()}
    widened = {name: half[name].float() for name in reversed(half)}
    assert hash_weights(half) == hash_weights(widened)
    widened["cls_token"][0, 0, 0] += 1e-3
    assert hash_weights(half) != hash_weights(widened)


def test_a_saved_file_loads_as_it_was(tiny: Encoder, frames: Tensor, tmp_path: Path) -> None:
    save_file(weights(tiny), tmp_path / "encoder.safetensors")
    loaded = load_encoder("tiny", tmp_path / "encoder.safetensors")
    assert loaded.weights_sha256 == tiny.weights_sha256
    assert torch.equal(loaded(frames), tiny(frames))


def damage(path: Path, how: str, tiny: Encoder) -> None:
    state = weights(tiny)
    if how == "lacks a tensor":
        del state["norm.bias"]
    if how == "one too many":
        state["head.weight"] = torch.zeros(2)
    if how == "other shape":
        state["pos_embed"] = torch.zeros(1, 50, 192)
    save_file(state, path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    if how == "no safetensors":
        path.write_text("weights")
    if how == "missing":
        path.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "no encoder weights at {path}: `s2robot pretrain` makes them"),
        ("truncated", "{path} is no readable safetensors file: "),
        ("no safetensors", "{path} is no readable safetensors file: "),
        ("lacks a tensor", "{path} as 'tiny': lacks 1 tensors, first 'norm.bias'"),
        ("one too many", "{path} as 'tiny': has 1 tensors too many, first 'head.weight'"),
        ("other shape", "{path} as 'tiny': 'pos_embed' is (1, 50, 192), expected (1, 197, 192)"),
    ],
)
def test_a_wrong_file_is_refused(tiny: Encoder, tmp_path: Path, how: str, said: str) -> None:
    path = tmp_path / "encoder.safetensors"
    damage(path, how, tiny)
    assert refusal(lambda: load_encoder("tiny", path)).startswith(said.format(path=path))


def test_weights_of_another_architecture_are_refused(tiny: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_file(weights(tiny), path)
    assert "as 'small': lacks" in refusal(lambda: load_encoder("small", path))


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'mvp-tiny-sim'?" in refusal(lambda: load_encoder("mvp-tiny"))
    assert refusal(lambda: load_encoder("random-huge")).startswith("unknown architecture 'huge'")
    assert refusal(lambda: load_encoder("tiny")).startswith("tiny is an architecture: give checkpoint=PATH")
    assert refusal(lambda: load_encoder("tinny", tmp_path / "x")).startswith("unknown architecture 'tinny'")


@given(st.integers(1, 16), st.integers(1, 20), st.integers(0, 20))
def test_a_smaller_grids_embedding_is_the_corner_of_a_larger_ones(quarter: int, side: int, more: int) -> None:
    width = 4 * quarter
    small, large = (sincos_position_embedding(width, n) for n in (side, side + more))
    assert small.shape == (1, 1 + side**2, width)
    assert not small[0, 0].any()
    corner = large[0, 1:].reshape(side + more, side + more, width)[:side, :side]
    assert torch.equal(small[0, 1:].reshape(side, side, width), corner)


def test_the_first_half_of_the_embedding_is_the_columns() -> None:
    patches = sincos_position_embedding(8, 3)[0, 1:].reshape(3, 3, 8)
    assert torch.equal(patches[0, :, :4], patches[2, :, :4])
    assert torch.equal(patches[:, 0, 4:], patches[:, 2, 4:])
    assert torch.equal(patches[0, 0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))
    assert patches[0, 1, 0] == pytest.approx(0.84147098)


@pytest.mark.parametrize("name", ["random-tiny", "blind"])
@pytest.mark.parametrize("size", ["224", 224.0, True])
def test_an_image_size_is_a_whole_number(name: str, size: Any) -> None:
    message = refusal(lambda: load_encoder(name, image_size=size))
    assert message == f"image_size={size!r}: expected a whole number of px"


def test_blind_has_no_weights_and_needs_a_patch(tmp_path: Path) -> None:
    assert "blind has weights of its own" in refusal(lambda: load_encoder("blind", tmp_path / "x"))
    assert refusal(lambda: load_encoder("blind", image_size=-16)).startswith("image_size=-16: expected 16 px")
