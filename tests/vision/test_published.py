"""MVP's published encoders: files of their exact layout give the right features, others end in one line."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mistakes import refusal
from plain_vit import plain_mvp, plain_positions, plain_vit
from published_file import checkpoint, decoder_shapes, encoder_shapes
from range_server import Server, serving
from torch import Tensor

from s2robot.config import compose
from s2robot.config.defaults import config_folder, names_in
from s2robot.core.errors import UserError
from s2robot.utils import paths
from s2robot.vision.encoders import published
from s2robot.vision.encoders.encoder import Architecture
from s2robot.vision.encoders.mvp import ARCHITECTURES, EMBEDDED, build_vit
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.pretrained import PRETRAINED
from s2robot.vision.encoders.published import PUBLISHED, cached_file, is_left_out
from s2robot.vision.encoders.registry import load_encoder
from s2robot.vision.features import make_extractor

WIDTH, DEPTH, HEADS = 48, 2, 12


@pytest.fixture
def shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders of MVP's grids and ViT-S's heads, but quick ones."""
    for name, size in (("small", 224), ("base", 224), ("large", 256)):
        monkeypatch.setitem(ARCHITECTURES, name, Architecture(WIDTH, DEPTH, HEADS, size))


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return checkpoint(WIDTH, DEPTH, 14)


def frames(size: int) -> Tensor:
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(0))


def floats(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2) / 255


def saved(content: object, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


# ---------------------------------------------------------------------- the layout


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_is_that_of_the_published_files(name: str) -> None:
    architecture = ARCHITECTURES[PUBLISHED[name].architecture]
    with torch.device("meta"):
        state = build_vit(architecture).state_dict()
    expected = encoder_shapes(architecture.width, architecture.depth, architecture.grid)
    assert {key: tuple(value.shape) for key, value in state.items()} == expected
    assert len(expected) == (294 if "large" in name else 150)
    parameters = {"small": 21_665_664, "base": 85_798_656, "large": 303_363_072}
    assert sum(value.numel() for value in state.values()) == parameters[PUBLISHED[name].architecture]


def test_what_else_a_file_may_hold() -> None:
    assert all(is_left_out(key) for key in [*decoder_shapes(WIDTH, 14), "head.weight", "head.bias"])
    assert not any(
        is_left_out(key) for key in [*encoder_shapes(WIDTH, DEPTH, 14), "mask", "headless", "fc_norm.bias"]
    )


def test_addresses_and_sums_are_mvps() -> None:
    assert {name: p.md5[:6] for name, p in PUBLISHED.items()} == {
        "mvp-small-hoi": "fe6e30",
        "mvp-small-imagenet": "29a004",
        "mvp-base-egosoup": "526093",
        "mvp-large-egosoup": "5352b0",
    }
    assert len({p.address for p in PUBLISHED.values()}) == len(PUBLISHED)
    for p in PUBLISHED.values():
        assert p.address.startswith("https://berkeley.box.com/shared/static/")
        assert (len(p.md5), len(p.file)) == (32, 36)


# ---------------------------------------------------------------------- features


def test_small_is_a_whole_vit_of_12_heads(tmp_path: Path) -> None:
    content = checkpoint(384, 12, 14)
    encoder = load_encoder("mvp-small-hoi", saved(content, tmp_path / "small.pth"))
    images = frames(224)[:1]
    with torch.no_grad():
        expected = plain_vit(content["model"], floats(images), heads=12)
        assert (expected - plain_vit(content["model"], floats(images), heads=6)).abs().mean() > 0.1
        torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_large_at_224_px(tmp_path: Path) -> None:
    content = checkpoint(1024, 24, 16)
    encoder = load_encoder("mvp-large-egosoup", saved(content, tmp_path / "large.pth"), image_size=224)
    state, images = content["model"] | {"pos_embed": plain_positions(1024, 14)}, frames(224)[:1]
    assert sum(p.numel() for p in encoder.vit.parameters()) == 303_301_632
    with torch.no_grad():
        expected = plain_vit(state, floats(images), heads=16)
        torch.testing.assert_close(encoder(images), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.usefixtures("shrunk")
def test_features_are_mvps(small: dict[str, Any], tmp_path: Path) -> None:
    encoder = load_encoder("mvp-small-hoi", saved(small, tmp_path / "small.pth"))
    images = frames(224)
    tokens = encoder(images)
    assert tokens.shape == (2, 197, WIDTH)
    torch.testing.assert_close(tokens, plain_vit(small["model"], floats(images), HEADS), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens, encoder(floats(images)), atol=1e-5, rtol=1e-5)
    cls = plain_mvp(small["model"], floats(images), HEADS)
    torch.testing.assert_close(tokens[:, 0], cls, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("shrunk")
@pytest.mark.parametrize("size", [256, 224, 64])
def test_large_runs_at_its_own_size_and_by_cropping_at_smaller_ones(tmp_path: Path, size: int) -> None:
    content = checkpoint(WIDTH, DEPTH, 16)
    path = saved(content, tmp_path / "large.pth")
    encoder = load_encoder("mvp-large-egosoup", path, None if size == 256 else size)
    state = content["model"] | {"pos_embed": plain_positions(WIDTH, size // 16)}
    images = frames(size)
    torch.testing.assert_close(encoder(images), plain_vit(state, floats(images), HEADS), atol=1e-4, rtol=1e-4)
    assert (encoder.architecture.image_size, encoder.architecture.grid) == (size, size // 16)
    assert encoder.weights_sha256 == load_encoder("mvp-large-egosoup", path).weights_sha256
    assert not any(p.requires_grad for p in encoder.parameters())
    tokens = encoder(images)
    for other in (32, size):  # cropped further, and back
        encoder.set_image_size(other)
    assert torch.equal(encoder(images), tokens)


@pytest.mark.usefixtures("shrunk")
@pytest.mark.parametrize("size", [230, 272, 0, -16])
def test_a_size_without_positions_is_refused(small: dict[str, Any], tmp_path: Path, size: int) -> None:
    path = saved(small, tmp_path / "small.pth")
    message = refusal(lambda: load_encoder("mvp-small-hoi", path, size))
    assert message.startswith(f"image_size={size}: expected a multiple of 16 up to 224 px")


@pytest.mark.usefixtures("shrunk")
def test_images_of_another_size_are_refused(small: dict[str, Any], tmp_path: Path) -> None:
    encoder = load_encoder("mvp-small-hoi", saved(small, tmp_path / "small.pth"))
    for images in (frames(256), floats(frames(256)), frames(224).int(), frames(224)[0], frames(224)[..., :1]):
        message = refusal(lambda images=images: encoder(images))
        assert message.startswith(f"images of shape {tuple(images.shape)}"[:20])
        assert "'mvp-small-hoi' takes float (B, 3, 224, 224) or uint8 (B, 224, 224, 3)" in message


@pytest.mark.usefixtures("shrunk")
def test_other_ways_to_save_the_same_weights(small: dict[str, Any], tmp_path: Path) -> None:
    sha256 = load_encoder("mvp-small-hoi", saved(small, tmp_path / "a.pth")).weights_sha256
    legacy = saved(small, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    bare = saved(small["model"], tmp_path / "c.pt")
    double = saved({"model": {k: v.double() for k, v in small["model"].items()}}, tmp_path / "d.pth")
    for path in (legacy, bare, double):
        assert load_encoder("mvp-small-hoi", path).weights_sha256 == sha256
    assert load_encoder("small", legacy).weights_sha256 == sha256
    rounded = saved({key: value.bfloat16() for key, value in small["model"].items()}, tmp_path / "e.pth")
    assert load_encoder("mvp-small-hoi", rounded)(frames(224)).isfinite().all()


@pytest.mark.usefixtures("shrunk")
def test_the_encoder_outlives_its_file(small: dict[str, Any], tmp_path: Path) -> None:
    path = saved(small, tmp_path / "small.pth")
    encoder = load_encoder("mvp-small-hoi", path)
    before = encoder(frames(224))
    path.write_bytes(b"")
    assert torch.equal(encoder(frames(224)), before)


def test_a_path_alone_tells_the_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ARCHITECTURES, "small", Architecture(WIDTH, DEPTH, HEADS))
    path = saved(checkpoint(WIDTH, DEPTH, 14), tmp_path / "mine.pth")
    encoder = load_encoder(path)
    assert (encoder.name, encoder.architecture) == (str(path), ARCHITECTURES["small"])
    other = saved(checkpoint(WIDTH, 3, 14), tmp_path / "other.pth")
    message = refusal(lambda: load_encoder(str(other)))
    assert message.startswith(f"{other}: a ViT of width 48 and 3 blocks is none of MVP's (tiny 192 x 6, ")
    assert refusal(lambda: load_encoder("nowhere.pth")).startswith("no encoder weights at nowhere.pth: ")
    assert (
        refusal(lambda: load_encoder(path, other)) == f"{path} and checkpoint={other}: one file was expected"
    )


def test_a_path_is_a_file_whatever_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ARCHITECTURES, "small", Architecture(WIDTH, DEPTH, HEADS))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = saved(checkpoint(WIDTH, DEPTH, 14), tmp_path / "mine.bin")
    blind = path.with_name("blind").absolute()
    blind.write_bytes(path.read_bytes())
    for file in ("mine.bin", Path("mine.bin"), "~/mine.bin", Path("blind")):
        assert load_encoder(file).width == WIDTH
    assert load_encoder("small", "~/mine.bin").width == WIDTH
    assert load_encoder("blind").width == 16


# ---------------------------------------------------------------------- wrong files


def _without(model: dict[str, Tensor]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key != "blocks.1.norm2.bias"}


WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "lacks one": (_without, "lacks 1 tensors, first 'blocks.1.norm2.bias'"),
    "one more": (lambda m: m | {"blocks.9.x": torch.ones(1)}, "has 1 tensors too many, first 'blocks.9.x'"),
    "fc_norm": (
        lambda m: m | {"fc_norm.bias": torch.ones(1)},
        "has 1 tensors too many, first 'fc_norm.bias'",
    ),
    "wider": (lambda m: checkpoint(96, 2, 14)["model"], " is ("),
    "256 px": (
        lambda m: checkpoint(48, 2, 16)["model"],
        "'pos_embed' is (1, 257, 48), expected (1, 197, 48)",
    ),
    "not finite": (
        lambda m: m | {"norm.bias": torch.full((48,), torch.nan)},
        "'norm.bias' holds values that",
    ),
    "float8": (
        lambda m: m | {"norm.bias": torch.ones(48).to(torch.float8_e4m3fn)},
        "'norm.bias' is float8_e4m3fn, expected one of float32, float16, bfloat16, float64",
    ),
    "whole numbers": (
        lambda m: m | {"norm.bias": torch.ones(48, dtype=torch.int32)},
        "'norm.bias' is int32, expected one of float32",
    ),
    "complex": (
        lambda m: m | {"norm.bias": torch.ones(48, dtype=torch.complex64)},
        "'norm.bias' is complex64, expected one of float32",
    ),
    "sparse": (
        lambda m: m | {"norm.bias": torch.ones(48).to_sparse()},
        "'norm.bias' is torch.sparse_coo, expected dense",
    ),
    "meta": (
        lambda m: m | {"norm.bias": torch.ones(48, device="meta")},
        "'norm.bias' is without values, expected dense",
    ),
    "learned": (
        lambda m: m | {"pos_embed": m["pos_embed"] + 0.01},
        "'pos_embed' is 0.01 off MVP's sine-cosine positions",
    ),
    "transposed": (
        lambda m: m | {"pos_embed": m["pos_embed"].flip(-1)},
        "off MVP's sine-cosine positions",
    ),
    "numbers": (lambda m: m | {"norm.bias": 3}, "holds no weights: 'norm.bias' is int, no tensor"),
    "nothing": (lambda m: {}, "holds no weights: expected tensors by name"),
    "a list": (lambda m: list(m.values()), "holds no weights: "),
}


@pytest.mark.usefixtures("shrunk")
@pytest.mark.parametrize("how", WRONG)
def test_other_tensors_are_refused(small: dict[str, Any], tmp_path: Path, how: str) -> None:
    change, said = WRONG[how]
    path = saved({"model": change(small["model"])}, tmp_path / "wrong.pth")
    message = refusal(lambda: load_encoder("mvp-small-hoi", path))
    assert str(path) in message
    assert said in message


def test_base_is_no_small(tmp_path: Path) -> None:
    zeros = {key: torch.zeros(1).expand(shape) for key, shape in encoder_shapes(768, 12, 14).items()}
    path = saved({"model": zeros}, tmp_path / "base.pth")
    message = refusal(lambda: load_encoder("mvp-small-hoi", path))
    assert message.startswith(f"{path} as 'small': '")


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def zipped(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def legacy(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize("write", [zipped, legacy, pickle.dumps], ids=["zip", "legacy", "pickle"])
def test_a_malicious_pickle_is_not_run(tmp_path: Path, write: Callable[[object], bytes]) -> None:
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    path.write_bytes(write({"model": {"cls_token": Malicious(made)}}))
    message = refusal(lambda: load_encoder("mvp-small-hoi", path))
    assert message.startswith(f"{path} ")
    assert "not loaded" in message or "no readable checkpoint" in message
    assert not made.exists()
    reads = pickle.loads if write is pickle.dumps else lambda b: torch.load(io.BytesIO(b), weights_only=False)
    reads(path.read_bytes())
    assert made.exists(), "it is malicious indeed"


def test_what_a_file_wants_to_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(zipped({"model": {"cls_token": Malicious(tmp_path / "made")}}))
    message = refusal(lambda: load_encoder("mvp-small-hoi", path))
    assert message == f"{path} holds more than weights (posix.mkdir): not loaded"


@pytest.mark.usefixtures("shrunk")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_one_line_or_other_numbers(
    small: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray((zipped if data.draw(st.booleans()) else legacy)(small))
    cut = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        del content[cut:]
    else:
        noise = data.draw(st.binary(min_size=1, max_size=64))
        content[cut : cut + len(noise)] = noise
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    try:
        load_encoder("mvp-small-hoi", path)
    except UserError as error:
        assert str(error).startswith(f"{path} ")
        assert "\n" not in str(error)


# ---------------------------------------------------------------------- the cache


@pytest.fixture
def server(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Serves `mvp-small-hoi` in the place of MVP's own address, to a cache of the test's."""
    content = zipped(small)
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / "cache"))
    entry = replace(PUBLISHED["mvp-small-hoi"], md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(PUBLISHED, "mvp-small-hoi", entry)
    with serving(content) as server:
        monkeypatch.setattr(published, "SOURCE", server.url)
        yield server


@pytest.mark.usefixtures("shrunk")
def test_a_published_encoder_is_fetched_once(server: Server, small: dict[str, Any], tmp_path: Path) -> None:
    server.break_after = [len(server.content) // 2]
    encoder = load_encoder("mvp-small-hoi")
    assert server.sent == len(server.content)
    assert server.asked == ["", f"bytes={len(server.content) // 2}-"]
    assert [p.relative_to(tmp_path) for p in tmp_path.rglob("*.*")] == [
        Path("cache/encoders/mvp-small-hoi.pth")
    ]
    images = frames(224)
    torch.testing.assert_close(
        encoder(images), plain_vit(small["model"], floats(images), HEADS), atol=1e-4, rtol=1e-4
    )
    server.status = 404
    assert load_encoder("mvp-small-hoi", image_size=112).weights_sha256 == encoder.weights_sha256


@pytest.mark.usefixtures("shrunk")
def test_offline_one_line_says_which_file_to_put_where(
    server: Server, small: dict[str, Any], tmp_path: Path
) -> None:
    server.status = 503
    entry = PUBLISHED["mvp-small-hoi"]
    where = tmp_path / "cache" / "encoders" / "mvp-small-hoi.pth"
    assert refusal(lambda: load_encoder("mvp-small-hoi")) == (
        f"mvp-small-hoi: cannot fetch {entry.address} (HTTP 503 Service Unavailable): "
        f"put that file (md5 {entry.md5}) at {where}, or give checkpoint=PATH"
    )
    where.write_bytes(server.content)
    assert load_encoder("mvp-small-hoi").architecture.grid == 14


@pytest.mark.usefixtures("shrunk")
def test_another_file_in_the_cache_is_refused(server: Server) -> None:
    path = cached_file("mvp-small-hoi")
    path.parent.mkdir(parents=True)
    path.write_bytes(server.content[:-1])
    message = refusal(lambda: load_encoder("mvp-small-hoi"))
    assert message.startswith(f"mvp-small-hoi: {path} has md5 ")
    assert PUBLISHED["mvp-small-hoi"].md5 in message
    assert server.asked == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("S2ROBOT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.user_cache() == tmp_path / ".cache" / "s2robot"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.user_cache() == tmp_path / "xdg" / "s2robot"
    monkeypatch.setenv("S2ROBOT_CACHE", "~/mine")
    assert paths.user_cache() == tmp_path / "mine"


# ---------------------------------------------------------------------- configuration


@pytest.mark.parametrize("choice", names_in(config_folder() / "encoder"))
def test_every_choice_of_the_configuration_is_an_encoder(choice: str) -> None:
    config = compose("encode", ["demos=x", f"encoder={choice}"]).encoder
    assert list(config) == [
        "name",
        "architecture",
        "checkpoint",
        "sizes",
        "resize_to",
        "fit",
        "crop",
        "engine",
    ]
    if config.name in PUBLISHED:
        assert config.architecture == PUBLISHED[config.name].architecture
    elif config.name.startswith("timm:") or config.name in PRETRAINED:
        assert config.architecture == config.name
    else:
        assert config.architecture == EMBEDDED.get(config.name, "small")


@pytest.mark.usefixtures("shrunk")
def test_a_policys_encoder_runs_at_its_smallest_scale(tmp_path: Path) -> None:
    path = saved(checkpoint(WIDTH, DEPTH, 16), tmp_path / "large.pth")
    config = compose("encode", ["demos=x", "encoder=large", f"encoder.checkpoint={path}"]).encoder
    options = EncoderOptions.of(config)
    made = {s: make_extractor(replace(options, sizes=s), False) for s in [(224,), (256,), (224, 448)]}
    assert [e.shape for e in made.values()] == [(197, WIDTH), (257, WIDTH), (197, 2 * WIDTH)]
    assert [e.identity["tile"] for e in made.values()] == [224, 256, 224]
    assert len({e.identity["weights_sha256"] for e in made.values()}) == 1
    assert all(e(frames(s[0]).numpy()).shape == (2, *e.shape) for s, e in made.items())
