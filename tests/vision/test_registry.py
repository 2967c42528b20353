"""Encoders of a user's own: any callable by `encoder._target_`, and what a checkpoint may make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mistakes import refusal
from torch import nn

from s2robot.config import compose, trust
from s2robot.config.options import to_plain
from s2robot.vision.encoders.callable_encoder import CallableEncoder
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.registry import make_encoder
from s2robot.vision.features import FeatureExtractor, make_extractor, make_recorded_extractor

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def options(target: str = "make", **section: Any) -> EncoderOptions:
    return EncoderOptions.of({"_target_": f"own_encoders.{target}", "sizes": [64]} | section)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("arguments", [{"prefix": 0}, {"prefix": 1}, {"prefix": 5}, {"layout": "bchw"}])
def test_tokens_and_maps_become_cls_and_patches(arguments: dict[str, Any], bf16: bool) -> None:
    extractor = make_extractor(options(**arguments), bf16)
    features = extractor(FRAMES)
    assert features.shape == (2, *extractor.shape) == (2, 1 + 4 * 4, 8)
    encoder = extractor.encoder
    assert isinstance(encoder.vit.convolution, nn.Conv2d)
    images = torch.from_numpy(FRAMES).permute(0, 3, 1, 2) / 255
    patches = encoder.vit.convolution(images).flatten(2).transpose(1, 2).detach().numpy()
    np.testing.assert_allclose(features[:, 1:], patches, atol=0.02)
    cls = 7.0 if arguments.get("prefix") else patches.mean(1)
    np.testing.assert_allclose(features[:, 0], np.broadcast_to(cls, (2, 8)), atol=0.02)


def test_it_is_frozen() -> None:
    encoder = make_encoder(options())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder.train().training


def test_two_sizes_are_s2() -> None:
    extractor = make_extractor(options(sizes=[64, 128]), False)
    assert extractor(FRAMES).shape == (2, 17, 16)


def test_mean_and_std_normalise_its_images() -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    given = make_extractor(options(mean=list(mean), std=list(std)), False)
    images = (torch.from_numpy(FRAMES).permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / (
        torch.tensor(std).view(3, 1, 1)
    )
    assert isinstance(given.encoder.vit.convolution, nn.Conv2d)
    expected = given.encoder.vit.convolution(images).flatten(2).transpose(1, 2)
    np.testing.assert_allclose(given(FRAMES)[:, 1:], expected.detach().numpy(), atol=0.02)


def test_its_identity_is_of_weights_source_and_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "from torch import nn\ndef make(unused=0):\n    return nn.Conv2d(3, 4, 16, 16)\n"
    keys = {}
    for name, text in (("first", source), ("second", source), ("third", source + "# changed\n")):
        (tmp_path / f"{name}_module.py").write_text(text)
        section = {"_target_": f"{name}_module.make", "name": "mine", "sizes": [64]}
        keys[name] = make_extractor(EncoderOptions.of(section), False).identity
    assert keys["first"]["weights_sha256"] == keys["third"]["weights_sha256"]
    assert keys["first"]["source_sha256"] != keys["third"]["source_sha256"]
    other = {"_target_": "first_module.make", "name": "mine", "sizes": [64], "unused": 1}
    assert make_extractor(EncoderOptions.of(other), False).identity != keys["first"]
    again = EncoderOptions.of({"_target_": "first_module.make", "name": "mine", "sizes": [64]})
    assert make_extractor(again, False).identity == keys["first"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"_target_": "own_encoders.nowhere"}, "encoder._target_=own_encoders.nowhere cannot be imported"),
        ({"_target_": "own_encoders.make_nothing"}, "gives str: expected a torch nn.Module"),
        ({"_target_": "own_encoders.make_dictionary"}, "gives dict: expected tokens (B, P + N, C) or a map"),
        ({"_target_": "own_encoders.break_off"}, "OSError: no such weights"),
        ({"widht": 3}, "unexpected keyword argument 'widht'"),
        ({"grid": [2, 3], "layout": "bchw"}, "of a square image: no square grid"),
        ({"prefix": 1, "prefix_tokens": 3}, "of a square image: no square grid"),
        ({"sizes": [8]}, "does not run at 8 x 8 px"),
        ({"checkpoint": "a.pt"}, "encoder._target_ and encoder.checkpoint=a.pt: expected one of them"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(section: dict[str, Any], expected: str) -> None:
    message = refusal(lambda: make_encoder(options(**section)))
    assert expected in message and "\n" not in message


def test_a_file_in_configs_encoder_is_all_it_takes(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "mine.yaml").write_text(
        "_target_: own_encoders.make\nprefix: 1\nsizes: [64]\nname: mine\n"
    )
    (tmp_path / "encode.yaml").write_text("defaults:\n  - encoder: mine\n")
    config = compose("encode", folder=tmp_path)
    encoder = make_encoder(EncoderOptions.of(config.encoder))
    assert isinstance(encoder, CallableEncoder)
    assert (encoder.name, encoder.architecture.grid) == ("mine", 4)


def test_a_checkpoint_runs_it_only_where_the_user_names_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "config_folder", lambda: tmp_path)
    recorded = to_plain(options(prefix=1))
    message = refusal(lambda: make_recorded_extractor(recorded, False))
    assert "names _target_ 'own_encoders.make', which is none of ours" in message
    assert "--config-dir" in message
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "mine.yaml").write_text("_target_: own_encoders.make\n")
    extractor = make_recorded_extractor(recorded, False)
    assert extractor.identity == make_extractor(options(prefix=1), False).identity


def test_a_nested_target_of_a_checkpoint_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "config_folder", lambda: tmp_path)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "mine.yaml").write_text("_target_: own_encoders.make\n")
    nested = to_plain(options(width={"_target_": "builtins.eval"}))
    assert "names _target_ 'builtins.eval'" in refusal(lambda: make_recorded_extractor(nested, False))
    assert make_recorded_extractor(to_plain(options()), False).shape == (17, 8)


def test_options_are_checked() -> None:
    plain = {"name": "mvp-tiny-sim", "sizes": [224]}
    assert EncoderOptions.of(plain) == EncoderOptions("mvp-tiny-sim", (224,))
    assert EncoderOptions.of(to_plain(options(prefix=1))) == options(prefix=1)
    for section, expected in (
        (plain | {"sizes": [0]}, "encoder.sizes=0: expected 1 or more"),
        (plain | {"fit": "crp"}, "unknown encoder.fit 'crp': did you mean 'crop'?"),
        (plain | {"fti": "crop"}, "unknown option of encoder 'fti': did you mean 'fit'?"),
        ({"name": "mvp-tiny-sim"}, "encoder.sizes is missing"),
    ):
        assert expected in refusal(lambda section=section: EncoderOptions.of(section))


def test_an_extractor_takes_an_encoder_that_is_made() -> None:
    encoder = make_encoder(EncoderOptions("random-tiny", (224,)))
    assert FeatureExtractor(encoder, [224]).identity == FeatureExtractor("random-tiny", [224]).identity
