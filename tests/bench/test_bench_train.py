"""The measurement of training: every part of it runs, and memory is that of a process of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_loop

from s2robot.bench.options import TrainBench
from s2robot.bench.stream import make, place, stream
from s2robot.train.batches import Batches

SECTION = TrainBench(windows=8, steps=2, encoder_steps=1, episodes=20, shape=(17, 32))


def test_a_synthetic_store_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    result = stream(tmp_path, replace(SECTION, episodes=1200, shape=(5, 4), windows=64), seed=0)
    assert result["episodes"] == 1200
    assert result["size_gb"] == pytest.approx(1200 * 30 * 5 * 4 * 2 / 1e9)
    assert result["windows_per_second"] > 0
    windows = [index for group in Batches(1200 * 30, 8, 0, 0, 8) for batch in group for index in batch]
    frames = sum(min(16, index % 30 + 1) for index in windows)  # padding is not read
    expected = result["windows_per_second"] * frames / len(windows) * 5 * 4 * 2 / 1e6
    assert result["mb_per_second"] == pytest.approx(expected)
    assert 0.05 < result["peak_memory_gb"] < 2


def test_its_episodes_are_files_of_their_own_that_differ(tmp_path: Path) -> None:
    make(tmp_path, 3, [5, 4], 0)
    first, second = (np.load(place(tmp_path, index)) for index in (0, 1))
    assert first.shape == (30, 5, 4) and first.dtype == np.float16
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_the_command_measures_every_part(toy_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    small = [o for o in toy_loop.TRAIN if not o.startswith(("steps=", "threads="))]
    train = "[" + ",".join(f'"{option}"' for option in [*small, "cameras=[front]"]) + "]"
    arguments = (
        f"demos={toy_store}",
        f"out={out}",
        f"training={train}",
        "train.windows=8",
        "train.steps=2",
        "threads=1",
    )
    assert toy_loop.s2robot("bench", "train", *arguments, "train.episodes=20") == 0
    result = json.loads(out.read_text())
    assert (result["demos"], result["batch_size"], result["threads"]) == (4, 4, 1)
    cached, looped = result["from_cache"], result["encoder_in_the_loop"]
    assert 0 <= cached["waited"] < 1
    ratio = cached["steps_per_second"] / looped["steps_per_second"]
    assert result["cache_over_encoder_in_the_loop"] == ratio
    per_second = cached["steps_per_second"] * 4
    assert result["data_path_over_training"] == result["data_path"]["windows_per_second"] / per_second
    assert result["synthetic_store"]["episodes"] == 20
