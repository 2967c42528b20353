"""Arrays read from disk by mapping: the same numbers, few open files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from toy_loop import made_episode

from s2robot.core.errors import UserError
from s2robot.data.dataset import WindowDataset
from s2robot.data.memmap import MappedArray
from s2robot.train import memory
from s2robot.train.memory import into_memory


def saved(path: Path, length: int = 20, seed: int = 0) -> np.ndarray:
    array = np.random.default_rng(seed).standard_normal((length, 5, 6)).astype(np.float16)
    np.save(path, array)
    return array


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_it_is_the_array(tmp_path: Path) -> None:
    array = saved(tmp_path / "a.npy")
    mapped = MappedArray.open(tmp_path / "a.npy")
    assert (len(mapped), mapped.shape, mapped.nbytes) == (20, array.shape, array.nbytes)
    assert mapped.dtype == np.float16
    for index in (slice(3, 9), slice(None), 7, -1):
        assert np.array_equal(mapped[index], array[index])


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    array = saved(tmp_path / "a.npy")
    mapped = MappedArray.open(tmp_path / "a.npy")
    mapped[2:4][:] = 0
    assert np.array_equal(mapped[:], array)


def test_any_number_of_episodes_needs_few_open_files(tmp_path: Path) -> None:
    before, tracks = open_files(), []
    for n in range(600):
        saved(tmp_path / f"{n}.npy", 3, n)
        features = {"front": MappedArray.open(tmp_path / f"{n}.npy")}
        tracks.append(made_episode(3, features=features))
    assert open_files() <= before + 1
    dataset = WindowDataset(tracks, 2, 2)
    for item in range(0, len(dataset), 2):
        dataset[item]
    assert open_files() < before + 300
    assert np.array_equal(dataset[3 * 599 + 2]["features/front"], saved(tmp_path / "x.npy", 3, 599)[1:])


def test_windows_of_memory_and_of_disk_are_the_same(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy")
    track = made_episode(20, features={"front": MappedArray.open(tmp_path / "a.npy")})
    held = into_memory([track])
    assert isinstance(held[0].features["front"], np.ndarray)
    (tmp_path / "a.npy").unlink()
    assert np.array_equal(held[0].features["front"], saved(tmp_path / "b.npy"))


def test_what_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "a.npy")
    track = made_episode(20, features={"front": MappedArray.open(tmp_path / "a.npy")})
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(UserError, match="^in_memory=true: the features take 0.0 GB, and 0.0 GB of"):
        into_memory([track])


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 300)
    with pytest.raises(ValueError):
        MappedArray.open(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        MappedArray.open(tmp_path / "b.npy")
