"""The measurements of the store: fair draws, every layout read, nothing counted twice, a thousand listed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode

from s2robot.bench.disk import many
from s2robot.bench.layouts import Contestant
from s2robot.bench.store import draw, measure_rates
from s2robot.data.store import DemoStore
from s2robot.data.validate import validate


@given(lengths=st.lists(st.integers(16, 60), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_windows_lie_inside_their_episodes(lengths: list[int], seed: int) -> None:
    windows = draw(lengths, 50, seed)
    assert len(windows) == 50
    assert windows == draw(lengths, 50, seed)
    assert all(15 <= step < lengths[episode] for episode, step in windows)


def test_every_window_is_as_likely_as_any_other() -> None:
    windows = draw([17, 20], 7000, seed=1)
    counts = np.unique(windows, axis=0, return_counts=True)[1]
    assert len(counts) == 2 + 5
    assert counts.min() > 850


def test_the_first_round_does_not_count_and_all_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str, seconds: list[float]) -> Contestant:
        def read(windows: list[tuple[int, int]]) -> float:
            order.append(name)
            return seconds[order.count(name) - 1]

        return Contestant(name, 0, read)

    entered = [contestant("a", [100.0, 1.0, 2.0]), contestant("b", [1.0, 4.0, 4.0])]
    assert measure_rates(entered, [(0, 15), (0, 16)], rounds=2) == {"a": [2.0, 1.0], "b": [0.5, 0.5]}
    assert order == ["a", "b"] * 3


def test_the_command_reads_all_layouts_and_writes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("imagecodecs")
    cameras = {"front": (32, 32, 3), "wrist": (16, 16, 3)}  # square, as encoders want them
    spec = dataclasses.replace(SPEC, cameras=cameras)
    store = DemoStore.create(tmp_path / "demos", spec)
    for n, steps in enumerate((18, 3, 20)):
        store.append(made_episode(0, n, spec, steps))
    out = tmp_path / "bench.json"
    options = (
        "encoder.name=random-tiny",
        "encoder.sizes=[224]",
        "store.bf16=false",
        "store.windows=3",
        "store.rounds=1",
    )
    arguments = (f"demos={store.path}", f"out={out}", "store.lerobot_images=[]", *options)
    assert toy_loop.s2robot("bench", "store", *arguments) == 0
    result = json.loads(out.read_text())
    names = ["store", "feature cache", *(f"diffusion_policy, {n}" for n in ("zstd", "default", "jpeg2k"))]
    assert list(result["layouts"]) == names
    assert all(row["windows_per_second"] > 0 for row in result["layouts"].values())
    assert (result["demos"], result["frames"], result["windows"]) == (2, 2 * 38, 3)
    noise = (32 * 32 + 16 * 16) * 3 / 2  # of the two cameras, which nothing makes smaller
    assert result["layouts"]["store"]["bytes_per_frame"] > 0.9 * noise
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == names


def test_writing_is_set_against_the_time_that_a_demo_lasts_and_many_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for n, steps in enumerate((18, 20)):
        store.append(made_episode(0, n, steps=steps))
    out = tmp_path / "bench.json"
    quick = ("disk.rounds=1", "disk.listed=12")
    assert toy_loop.s2robot("bench", "disk", f"demos={store.path}", f"out={out}", *quick) == 0
    result = json.loads(out.read_text())
    assert result["writing"]["lasts"] == [18 / SPEC.rate, 20 / SPEC.rate]
    assert len(result["writing"]["seconds"]) == 2
    assert result["writing"]["share"] == pytest.approx(sum(result["writing"]["seconds"]) / (38 / SPEC.rate))
    assert result["listing"]["demos"] == 12
    assert 0 < result["listing"]["seconds"][0] < result["listing"]["command_seconds"][0]
    assert "list 12: " in capsys.readouterr().out


def test_a_store_of_many_is_one_that_others_read(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0))
    copies = DemoStore.open(many(store, tmp_path / "many", 3))
    assert copies.ids() == ["000000", "000001", "000002"]
    assert {copies.episode(i).digest() for i in copies.ids()} == {store.episode("000000").digest()}
    assert validate(copies) == []


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=15))
    common = (f"demos={store.path}", f"out={tmp_path / 'bench.json'}")
    assert "no demo of 16 steps" in toy_loop.refusal(capsys, "bench", "store", *common)
    unknown = toy_loop.refusal(capsys, "bench", "stor", *common)
    assert "unknown what 'stor': did you mean 'store'?" in unknown
