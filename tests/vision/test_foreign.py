"""Which encoder is the default; one of our simulator alone is named where frames are from elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm
import toy_loop
from safetensors.torch import save_file
from stores import write_attributes

from s2robot.commands import load_command
from s2robot.data.store import DemoStore
from s2robot.train.windows import load_windows
from s2robot.vision.encoders import pretrained
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.pretrained import PRETRAINED, weights_file
from s2robot.vision.foreign import foreign_frames


@pytest.mark.parametrize(
    ("name", "env", "told"),
    [
        ("mvp-tiny-sim", None, True),
        ("mvp-tiny-sim", "envs.toy.Toy", True),
        ("mvp-tiny-sim", "envs.cube_pick.CubePick", False),
        ("random-tiny", None, False),
    ],
)
def test_an_encoder_of_our_simulator_alone_is_named_where_frames_are_from_elsewhere(
    name: str, env: str | None, told: bool
) -> None:
    said = foreign_frames(EncoderOptions(name, (224,)), {"_target_": env} if env else None, "imported")
    assert (said is not None) == told
    assert said is None or "encoder=dinov2-small was trained on real images" in said


def test_encode_says_so(toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("encoder.sizes=[32]", f"features={tmp_path}", "workers=0", "bf16=false")
    assert toy_loop.s2robot("encode", f"demos={toy_store}", *options) == 0
    told = f"on frames of our own simulator alone, and {toy_store} has others"
    assert capsys.readouterr().out.count(told) == 1


@pytest.fixture
def imported(toy_store: Path, tmp_path: Path) -> Path:
    """Demos of which nothing says that a simulation made them."""
    out = tmp_path / "imported"
    shutil.copytree(toy_store, out)
    write_attributes(out / "zarr.json", lambda attributes: attributes.pop("record"))
    for episode in DemoStore.open(out).ids():
        write_attributes(out / episode / "zarr.json", lambda attributes: attributes.pop("config", None))
    return out


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrained, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: None)


def chosen(command: str, demos: object, *given: str) -> EncoderOptions:
    out = ("out=unused",) if command == "train" else ()
    return load_command(command, (f"demos={demos}", *out, *given))[1].encoder


@pytest.mark.parametrize("command", ["encode", "train"])
def test_imported_demos_get_an_encoder_of_real_images(command: str, toy_store: Path, imported: Path) -> None:
    assert chosen(command, imported).name == "dinov2-small"
    own = chosen(command, imported, "encoder.sizes=[224,448]", "encoder.crop.front=[0,0.5,1,1]")
    assert (own.name, own.sizes, own.crop) == ("dinov2-small", (224, 448), {"front": (0, 0.5, 1, 1)})
    assert chosen(command, toy_store).name == "mvp-tiny-sim"
    assert chosen(command, imported / "missing").name == "mvp-tiny-sim"  # the command itself refuses it


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("encoder=tiny", "mvp-tiny-sim"),
        ("encoder.name=random-tiny", "random-tiny"),
        ("+encoder._target_=torch.nn.Identity", "mvp-tiny-sim"),
    ],
)
def test_an_encoder_that_was_chosen_is_kept(given: str, name: str, imported: Path) -> None:
    assert chosen("train", imported, given).name == name


def test_one_store_of_real_images_among_several_decides(toy_store: Path, imported: Path) -> None:
    assert chosen("train", f"[{toy_store},{imported}]").name == "dinov2-small"


@pytest.mark.usefixtures("offline")
def test_without_its_weights_one_line_says_what_to_do(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = toy_loop.refusal(capsys, "train", f"demos={imported}", f"out={tmp_path / 'policy'}")
    assert "dinov2-small: no weights in" in said
    assert said.endswith("or encoder=tiny, which needs no download and knows our simulator alone")


@pytest.mark.usefixtures("offline")
def test_windows_have_its_features(imported: Path) -> None:
    weights_file("dinov2-small").parent.mkdir(parents=True)
    vit = timm.create_model(PRETRAINED["dinov2-small"].model, num_classes=0)
    save_file(vit.state_dict(), weights_file("dinov2-small"))
    windows = load_windows(imported, encoder={"sizes": [28]}, augment={"variants": 0}, bf16=False)
    assert windows.options.encoder.name == "dinov2-small"
    assert windows[0]["features/front"].shape[-2:] == (1 + 2 * 2, 384)
