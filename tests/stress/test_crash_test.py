"""The script that kills recording processes: that it kills, counts, and sees what is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import toy_loop

from tests.stress import crash_test


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return toy_loop.record(tmp_path / "scripted", 3, "env.image_size=16")


def counted(store: Path, listed: set[str]) -> tuple[int, int, int]:
    tally = crash_test.Tally()
    tally.inspect(store, listed)
    tally.inspect_again(store)
    return tally.committed_lost, tally.unreadable, tally.invalid


def test_an_intact_store_passes(store: Path) -> None:
    assert counted(store, {"000000", "000001", "000002"}) == (0, 0, 0)


def test_an_episode_that_is_gone_is_counted(store: Path) -> None:
    shutil.rmtree(store / "000002")
    assert counted(store, {"000000", "000001", "000002"}) == (1, 0, 0)


def test_a_damaged_chunk_is_counted(store: Path) -> None:
    chunk = next((store / "000001" / "images" / "front").glob("c.*"))
    chunk.write_bytes(chunk.read_bytes()[:-5])
    assert counted(store, set())[1] == 1


def test_a_store_that_cannot_be_opened_is_counted(store: Path) -> None:
    (store / "zarr.json").write_text("{")
    assert counted(store, {"000000"}) == (0, 1, 0)


def test_a_gap_between_ids_is_counted(store: Path) -> None:
    (store / "000001").rename(store / "000007")
    assert counted(store, set())[2] == 1


def test_an_episode_that_changes_afterwards_is_counted(store: Path) -> None:
    tally = crash_test.Tally()
    tally.inspect(store, set())
    metadata = store / "000001" / "zarr.json"
    metadata.write_text(metadata.read_text().replace("true", "false"))
    tally.inspect_again(store)
    assert tally.invalid == 1


@pytest.mark.slow
def test_killed_processes_lose_nothing(tmp_path: Path) -> None:
    crash_test.main(["--kills", "6", "--out", str(tmp_path / "kills.json")])
    result = json.loads((tmp_path / "kills.json").read_text())
    assert result["kills"] == 6 and result["episodes"] > 0
    assert result["committed_lost"] == result["unreadable"] == result["invalid"] == 0
