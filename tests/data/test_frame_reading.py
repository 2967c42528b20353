"""Frames decoded in threads: the same as zarr reads, in every process, and a damaged chunk is reported."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ZstdCodec

from s2robot.core.spec import RobotSpec
from s2robot.data.episode import CHUNK_STEPS, Episode
from s2robot.data.frames import is_quick
from s2robot.data.reader import Damaged
from s2robot.data.store import DemoStore
from s2robot.data.validate import validate

SPEC = RobotSpec({"front": (8, 6, 3)}, ("x",), ("dx",), "ee_delta", 10.0)
LENGTH = 4 * CHUNK_STEPS + 1  # the last chunk is not full


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    path = tmp_path_factory.mktemp("frames")
    frames = np.random.default_rng(0).integers(256, size=(LENGTH, 8, 6, 3), dtype=np.uint8)
    numbers = np.zeros((LENGTH, 1), np.float32)
    episode = Episode({"front": frames}, numbers, numbers, numbers, np.arange(LENGTH, dtype=np.float64))
    for name, attributes in (("lossless", {}), ("jpeg", {"image_codec": {"name": "jpeg", "quality": 90}})):
        DemoStore.create(path / name, SPEC, attributes).append(episode)
    return DemoStore.open(path / "lossless")


def as_zarr_reads(store: DemoStore) -> zarr.Array:
    array = zarr.open_array(store.path / "000000" / "images" / "front", mode="r")
    assert isinstance(array, zarr.Array)
    return array


@given(st.data())
def test_frames_are_those_that_zarr_reads(store: DemoStore, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, LENGTH - 1))
    stop = data.draw(st.integers(start + 1, LENGTH))
    read = store.episode("000000").images("front", slice(start, stop))
    np.testing.assert_array_equal(read, np.asarray(as_zarr_reads(store)[start:stop]))
    read[:] = 0  # it is the caller's


def test_a_lossy_codec_is_left_to_zarr(store: DemoStore) -> None:
    jpeg = DemoStore.open(store.path.parent / "jpeg")
    assert is_quick(as_zarr_reads(store)) and not is_quick(as_zarr_reads(jpeg))
    assert jpeg.episode("000000").images("front").shape == (LENGTH, 8, 6, 3)


def test_frames_of_an_older_store_are_read(store: DemoStore, tmp_path: Path) -> None:
    """zstd, step after step: what the store wrote at first."""
    copy = DemoStore.create(tmp_path / "copy", SPEC)
    copy.append_copy(store.episode("000000"), {})
    frames = store.episode("000000").images("front")
    group = zarr.open_group(copy.path / "000000" / "images", mode="r+")
    older: Any = {"compressors": [ZstdCodec(level=3), Crc32cCodec()], "chunks": (CHUNK_STEPS, 8, 6, 3)}
    keys: Any = {"name": "default", "separator": "."}
    group.create_array("front", data=frames, overwrite=True, chunk_key_encoding=keys, **older)
    np.testing.assert_array_equal(copy.episode("000000").images("front", slice(1, 11)), frames[1:11])
    assert validate(copy) == []


def test_a_process_that_was_forked_reads_too(store: DemoStore) -> None:
    """As the workers of a data loader are, after their parent has read."""
    frames = store.episode("000000").images("front")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(_frames, (store.path,)).get(timeout=60), frames)


def _frames(path: Path) -> np.ndarray:
    return DemoStore.open(path).episode("000000").images("front")


@pytest.mark.parametrize("byte", [0, -1])
def test_a_chunk_that_was_altered_is_told(store: DemoStore, tmp_path: Path, byte: int) -> None:
    copy = DemoStore.create(tmp_path / "copy", SPEC)
    copy.append_copy(store.episode("000000"), {})
    chunk = copy.path / "000000" / "images" / "front" / "c.1.0.0.0"
    content = bytearray(chunk.read_bytes())
    content[byte] ^= 1
    chunk.write_bytes(content)
    reader = copy.episode("000000")
    assert len(reader.images("front", slice(0, CHUNK_STEPS))) == CHUNK_STEPS
    with pytest.raises(Damaged, match="checksum"):
        reader.images("front", slice(0, CHUNK_STEPS + 1))
