"""The bench of encoding: all ways give the same features, and what is written can be divided again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from kill_writer import SPEC, made_episode

from s2robot.bench.encode import unchanged_tiles
from s2robot.bench.memory import peak_memory
from s2robot.bench.plain_loop import plain_loop
from s2robot.data.store import DemoStore
from s2robot.utils.provenance import has_bf16
from s2robot.vision.features import FeatureExtractor


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    spec = dataclasses.replace(SPEC, cameras={"front": (32, 32, 3), "wrist": (32, 32, 3)})
    store = DemoStore.create(tmp_path / "demos", spec)
    store.append(made_episode(0, 0, spec, 5))
    return store.path


@pytest.mark.parametrize("sizes", [(224,), (224, 448), (112, 224, 336)])
def test_the_plain_loop_gives_the_same_features(sizes: tuple[int, ...]) -> None:
    extractor = FeatureExtractor("random-tiny", sizes, bf16=False)
    frames = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), np.uint8)
    np.testing.assert_allclose(plain_loop(extractor)(frames), extractor(frames), atol=1e-2)


@pytest.mark.slow
def test_it_measures_every_way_at_every_set_of_scales(demos: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    small = tuple(
        f"encode.{option}"
        for option in ("encoders=[random-tiny]", "bf16=true", "frames=2", "rounds=2", "control_steps=2")
    )
    arguments = (f"demos={demos}", f"out={out}", *small, "threads=1", "encode.memory=false")
    assert toy_loop.s2robot("bench", "encode", *arguments) == 0
    written = json.loads(out.read_text())
    named = {(tuple(row["sizes"]), row["method"]): row for row in written["rows"]}
    methods = ("plain loop, float32", "ours, float32", "ours, bf16")
    assert set(named) == {(sizes, m) for sizes in ((224,), (224, 448)) for m in methods}
    assert named[(224, 448), methods[0]]["cosine_to_float32"] == pytest.approx(1, abs=1e-4)
    assert named[(224, 448), methods[1]]["cosine_to_float32"] > 0.9999
    assert 0.99 < named[(224, 448), methods[2]]["cosine_to_float32"] < 0.999999
    assert named[(224, 448), methods[2]]["share_of_cosines_from_0.999"] == 1
    ratio = written["to_single_scale"][0]
    assert ratio["macs"] == pytest.approx(5, rel=1e-3)
    pair = [named[sizes, ratio["method"]]["frames_per_second"] for sizes in ((224,), (224, 448))]
    assert ratio["bulk"] == pytest.approx(pair[0] / pair[1])
    assert written["read_frames_per_second"] > 0
    assert set(written["product_gflops"]) == {"float32"} | ({"bf16"} if has_bf16() else set())
    assert min(written["product_gflops"].values()) > 0
    assert written["unchanged_tiles"] == 0  # noise


def test_tiles_that_stay_as_they_were_are_counted(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, cameras={"front": (448, 448, 3)})
    store = DemoStore.create(tmp_path / "demos", spec)
    episode = made_episode(0, 0, spec, 3)
    episode.images["front"][:] = 0
    episode.images["front"][1, 300, 300] = 255  # one of four quadrants changes, and changes back
    store.append(episode)
    assert unchanged_tiles(store, (448,)) == pytest.approx(3 / 4)
    assert unchanged_tiles(store, (224, 448)) == pytest.approx(3 / 5)


def ones(count: int) -> Callable[[], object]:
    return lambda: np.ones(count, np.uint8).sum()


def test_memory_at_its_peak_is_that_of_the_call() -> None:
    assert 45e6 < peak_memory(ones, 50_000_000) < 60e6


def test_mistakes_are_one_line(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = DemoStore.create(tmp_path / "empty", SPEC).path
    out = f"out={tmp_path / 'bench.json'}"
    assert "holds no demos" in toy_loop.refusal(capsys, "bench", "encode", f"demos={empty}", out)
    for option, said in (
        ("encode.control_steps=0", "encode.control_steps=0: expected 1 or more"),
        ("encode.rounds=0", "encode.rounds=0: expected 1 or more"),
        ("encode.encoders=[]", "encode.encoders=[]"),
        ("encode.device=nowhere", "device=nowhere: expected cpu, or cuda"),
    ):
        assert said in toy_loop.refusal(capsys, "bench", "encode", f"demos={empty}", out, option)
    (tmp_path / "precious.json").write_text("precious")
    there = f"out={tmp_path / 'precious.json'}"
    assert "exists already" in toy_loop.refusal(capsys, "bench", "encode", f"demos={empty}", there)
    assert (tmp_path / "precious.json").read_text() == "precious"
    assert "several sizes" in toy_loop.refusal(
        capsys, "bench", "encode", f"demos={_two_sizes(tmp_path)}", out
    )


def _two_sizes(folder: Path) -> Path:
    spec = dataclasses.replace(SPEC, cameras={"front": (32, 32, 3), "wrist": (16, 16, 3)})
    store = DemoStore.create(folder / "two", spec)
    store.append(made_episode(0, 0, spec, 5))
    return store.path
