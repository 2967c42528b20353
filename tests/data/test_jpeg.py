"""Lossy frames: small, about what they were, never taken for lossless ones, and the loss is stated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_loop
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode
from mistakes import refusal

from s2robot.core.spec import RobotSpec
from s2robot.data.episode import Episode
from s2robot.data.frame_error import FrameError
from s2robot.data.jpeg import Jpeg
from s2robot.data.store import DemoStore

JPEG = {"image_codec": {"name": "jpeg", "quality": 95}}


def scene(steps: int, height: int, width: int, noise: float = 0.0) -> np.ndarray:
    """A smooth picture that moves, with the noise of a camera: uint8 (T, H, W, 3)."""
    t, y, x = np.mgrid[:steps, :height, :width]
    waves = [128 + 100 * np.sin((x + y * k + 3 * t) / 9) for k in (1, 2, 3)]
    grain = np.random.default_rng(0).normal(0, noise, (steps, height, width, 3)) if noise else 0
    return np.clip(np.stack(waves, axis=-1) + grain, 0, 255).astype(np.uint8)


def filmed(steps: int, noise: float = 0.0) -> Episode:
    episode = made_episode(0, 0, steps=steps)
    episode.images = {name: scene(steps, *shape[:2], noise) for name, shape in SPEC.cameras.items()}
    return episode


@settings(max_examples=15)
@given(steps=st.integers(1, 40), height=st.integers(8, 40), width=st.integers(8, 40))
def test_frames_come_back_in_order_and_alike(
    tmp_path_factory: pytest.TempPathFactory, steps: int, height: int, width: int
) -> None:
    spec = RobotSpec({"front": (height, width, 3)}, SPEC.proprio, SPEC.action, "ee_delta", 10.0)
    episode = made_episode(0, 0, spec, steps)
    episode.images = {"front": scene(steps, height, width)}
    store = DemoStore.create(tmp_path_factory.mktemp("jpeg") / "demos", spec, JPEG)
    reader = DemoStore.open(store.path).episode(store.append(episode))
    back = reader.images("front")
    assert (back.dtype, back.shape) == (np.uint8, (steps, height, width, 3))
    assert np.abs(back.astype(int) - episode.images["front"]).mean() < 3
    np.testing.assert_array_equal(reader.images("front", steps - 1), back[-1])
    np.testing.assert_array_equal(reader.action, episode.action)


def test_noise_makes_them_small_beside_lossless_ones(tmp_path: Path) -> None:
    sizes = {}
    for name, attributes in (("lossless", {}), ("jpeg", JPEG)):
        spec = RobotSpec({"front": (64, 64, 3)}, SPEC.proprio, SPEC.action, "ee_delta", 10.0)
        episode = made_episode(0, 0, spec, 16)
        episode.images = {"front": scene(16, 64, 64, noise=4)}
        store = DemoStore.create(tmp_path / name, spec, attributes)
        store.append(episode)
        sizes[name] = sum(f.stat().st_size for f in (tmp_path / name).rglob("*/images/front/c*"))
    assert sizes["jpeg"] < sizes["lossless"] / 2


def test_the_stated_error_is_that_of_the_frames(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC, JPEG)
    episode = filmed(12, noise=4)
    reader = store.episode(store.append(episode))
    for camera, frames in episode.images.items():
        error = FrameError.between(frames, reader.images(camera)).to_dict()
        assert reader.attributes["image_error"][camera] == pytest.approx(error)
        assert 0 < error["mean"] < 5  # type: ignore[operator]


def test_damage_is_noticed(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC, JPEG)
    store.append(filmed(20))
    chunk = next((store.path / "000000" / "images" / "front").glob("c*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    assert "is damaged" in refusal(lambda: store.episode("000000").images("front"))


def test_plain_zarr_reads_it_in_another_process(tmp_path: Path) -> None:
    """Which has imported the codec; an installation finds it by its entry point."""
    store = DemoStore.create(tmp_path / "demos", SPEC, JPEG)
    store.append(filmed(3))
    code = (
        "import sys, zarr, s2robot.data.jpeg; "
        "print(zarr.open_array(sys.argv[1] + '/000000/images/front')[:].mean())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.path], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(store.episode("000000").images("front").mean())


@pytest.mark.parametrize("quality", [0, 101, "high", True, 90.0])
def test_a_quality_that_is_none_is_refused(tmp_path: Path, quality: object) -> None:
    attributes = {"image_codec": {"name": "jpeg", "quality": quality}}
    assert "expected a whole number" in refusal(lambda: DemoStore.create(tmp_path / "a", SPEC, attributes))
    assert not (tmp_path / "a").exists()


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    def create(shape: tuple[int, ...], dtype: str = "uint8", chunks: tuple[int, ...] | None = None) -> None:
        chunks = chunks or shape
        zarr.create_array(tmp_path / "a", shape=shape, dtype=dtype, chunks=chunks, serializer=Jpeg())

    assert "not float32 (2, 8, 8, 3)" in refusal(lambda: create((2, 8, 8, 3), "float32"))
    assert "not uint8 (8, 8)" in refusal(lambda: create((8, 8)))
    assert "at most 65500 px" in refusal(lambda: create((40, 2000, 8, 3)))
    create((40, 2000, 8, 3), chunks=(16, 2000, 8, 3))


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    attributes = {"image_codec": {"name": "jpge"}}
    assert "unknown image codec" in refusal(lambda: DemoStore.create(tmp_path / "a", SPEC, attributes))


def test_recording_states_size_and_error_and_keeps_to_its_codec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = toy_loop.record(tmp_path / "demos", 2, "images=jpeg", "quality=80")
    said = capsys.readouterr().out
    assert "\nframes: jpeg, quality 80, " in said
    assert " kB each; mean error " in said
    common = ("record", "env=toy", "expert=toy", f"out={out}", "workers=0", "episodes=3")
    message = toy_loop.refusal(capsys, *common)
    assert "keeps its frames as {'name': 'jpeg', 'quality': 80}, not as lossless" in message
    assert "unknown images 'jpg': did you mean 'jpeg'?" in toy_loop.refusal(capsys, *common, "images=jpg")
    toy_loop.record(out, 3, "images=jpeg", "quality=80")
    assert len(DemoStore.open(out)) == 3


def test_lossy_frames_travel_once_and_are_not_compressed_again(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC, JPEG)
    store.append(filmed(5))
    for command, source, out in (("export", "demos", "out.zarr"), ("import", "out.zarr", "back")):
        arguments = ("format=diffusion_policy", f"demos={tmp_path / source}", f"out={tmp_path / out}")
        assert toy_loop.s2robot(command, *arguments) == 0
    back = DemoStore.open(tmp_path / "back").episode("000000")
    np.testing.assert_array_equal(back.images("front"), store.episode("000000").images("front"))


def test_the_error_of_frames_is_in_words() -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    assert str(FrameError.between(frames, frames)) == "2 frames compared: equal"
    other = frames.copy()
    other[0] = 200
    words = "2 frames compared: mean error 100.00 of 255, largest 200, PSNR 5.1 dB"
    assert str(FrameError.between(frames, other)) == str(FrameError.between(other, frames)) == words
