"""A demo store and what befalls it: damaged files, processes that are killed, writers beside each other."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_writer import SPEC, made_episode
from mistakes import refusal
from processes import ended_tag, foreign_tag
from stores import SERIES, assert_intact, cut, empty, flip

from s2robot.data import durable
from s2robot.data.store import DemoStore
from s2robot.utils.processes import temporary_tag


@pytest.fixture
def store(tmp_path: Path) -> DemoStore:
    return DemoStore.create(tmp_path / "demos", SPEC)


# Damage


@pytest.mark.parametrize("harm", [cut, empty, flip, Path.unlink])
@pytest.mark.parametrize("name", ["images/front", *SERIES])
def test_a_damaged_chunk_is_named_and_never_read(
    store: DemoStore, name: str, harm: Callable[[Path], None]
) -> None:
    store.append(made_episode(0, 0, steps=40))
    files = sorted((store.path / "000000" / name).glob("c*"))
    harm(files[-1])
    reader = DemoStore.open(store.path).episode("000000")
    message = refusal(lambda: reader.images("front") if "/" in name else getattr(reader, name))
    assert f"episode 000000 of {store.path}: {name} is damaged" in message
    assert "drop this episode" in message


def test_chunks_beside_the_damaged_one_are_still_read(store: DemoStore) -> None:
    episode = made_episode(0, 0, steps=40)
    store.append(episode)
    cut(store.path / "000000/images/front/c.1.0.0.0")
    reader = store.episode("000000")
    np.testing.assert_array_equal(reader.images("front", slice(0, 4)), episode.images["front"][:4])
    np.testing.assert_array_equal(reader.images("front", -1), episode.images["front"][-1])
    for index in (4, 7, slice(0, 5), slice(39, 1, -9), slice(3, 9)):
        assert "images/front is damaged" in refusal(lambda index=index: reader.images("front", index))


@pytest.mark.parametrize("harm", [cut, empty])
@pytest.mark.parametrize("name", [".", "action"])
def test_damaged_metadata_is_named(store: DemoStore, name: str, harm: Callable[[Path], None]) -> None:
    store.append(made_episode(0, 0))
    harm(store.path / "000000" / name / "zarr.json")
    assert "is damaged" in refusal(lambda: store.episode("000000").action)


# Processes


@pytest.fixture(scope="module")
def start_writer() -> Iterator[Callable[..., int]]:
    """Starts a writer process on a store and returns its id; see kill_writer.py."""
    script = Path(__file__).parents[1] / "kill_writer.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([sys.executable, script], env=environment, **pipes) as server:
        commands, replies = server.stdin, server.stdout
        assert commands and replies

        def start(path: Path, log: Path, seed: int, ids: list[str | None] | None = None) -> int:
            job = {"path": str(path), "log": str(log), "seed": seed, "ids": ids}
            commands.write(json.dumps(job) + "\n")
            return int(replies.readline())

        yield start
        commands.close()


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.001)


def logged(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh store", "one store"])
def test_kill_9_at_any_moment_loses_at_most_the_running_episode(
    tmp_path: Path, start_writer: Callable[..., int], fresh: bool
) -> None:
    moments = random.Random(f"kill {fresh}")
    for seed in range(15):
        path = tmp_path / (f"demos{seed}" if fresh else "demos")
        log = tmp_path / f"log{seed}"
        writer = start_writer(path, log, seed)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(writer, signal.SIGKILL)
        wait_gone(writer)

        store = DemoStore.open_or_create(path, SPEC)
        assert not any((store.path / ".staging").iterdir())
        assert_intact(store)
        acknowledged = {line["id"] for line in logged(log)}
        of_this_writer = {i for i in store.ids() if store.episode(i).attributes["seed"] == seed}
        assert acknowledged <= of_this_writer
        # The last may have been committed and killed before it was acknowledged.
        assert len(of_this_writer) <= len(acknowledged) + 1


def test_two_writers_with_default_ids_lose_nothing(tmp_path: Path, start_writer: Callable[..., int]) -> None:
    path, logs = tmp_path / "demos", [tmp_path / "log0", tmp_path / "log1"]
    writers = [start_writer(path, log, seed, [None] * 8) for seed, log in enumerate(logs)]
    for pid in writers:
        wait_gone(pid)
    store = DemoStore.open(path)
    lines = [line for log in logs for line in logged(log)]
    assert sorted(line["id"] for line in lines) == store.ids() == [f"{n:06d}" for n in range(16)]
    assert_intact(store)


def test_two_writers_of_the_same_ids_have_one_winner_each(
    tmp_path: Path, start_writer: Callable[..., int]
) -> None:
    path, logs = tmp_path / "demos", [tmp_path / "log0", tmp_path / "log1"]
    ids = [f"e{n}" for n in range(8)]
    writers = [start_writer(path, log, seed, ids) for seed, log in enumerate(logs)]
    for pid in writers:
        wait_gone(pid)
    store = DemoStore.open(path)
    lines = [line for log in logs for line in logged(log)]
    won = {line["id"]: line["seed"] for line in lines if "id" in line}
    refused = [line["refused"] for line in lines if "refused" in line]
    assert store.ids() == sorted(won) == ids
    assert {i: store.episode(i).attributes["seed"] for i in ids} == won
    assert len(refused) == 8
    assert all("exists already" in message for message in refused)
    assert_intact(store)


def test_staging_is_cleaned_of_writers_that_surely_ended_alone(store: DemoStore) -> None:
    staging, dead = store.path / ".staging", f"a-b-{ended_tag()}"
    kept = {f"000000-{temporary_tag()}", f"000000-{foreign_tag()}", "notes"}
    for name in (dead, *kept):
        (staging / name / "images").mkdir(parents=True)
    assert DemoStore.open(store.path).clean_staging() == 1
    assert {p.name for p in staging.iterdir()} == kept
    assert store.clean_staging() == 0


def test_writers_in_containers_of_their_own_lose_nothing(tmp_path: Path) -> None:
    """Each has a PID namespace of its own, and opens the store before every episode."""
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no new PID namespace here")
    path, code = (
        tmp_path / "demos",
        (
            "import sys; from kill_writer import *; path, seed = sys.argv[1], int(sys.argv[2])\n"
            "for n in range(12): DemoStore.open_or_create(path, SPEC).append(made_episode(seed, n))"
        ),
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    other_numbers = ('"$@"; true', 'true & true & true & wait; "$@"; true')
    writers = [
        subprocess.Popen(
            [*isolated, shell, "sh", sys.executable, "-c", code, path, str(seed)], env=environment
        )
        for seed, shell in enumerate(other_numbers)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    store = DemoStore.open(path)
    assert len(store) == 24
    assert_intact(store)


def test_an_episode_whose_files_went_away_while_it_was_written_is_not_committed(
    store: DemoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync_and_lose(folder: Path) -> None:
        """As where the folder was cleared: zarr makes groups that are missing, without attributes."""
        (folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')

    monkeypatch.setattr("s2robot.data.store.sync_tree", sync_and_lose)
    assert "went away while it was written" in refusal(lambda: store.append(made_episode(0, 0)))
    monkeypatch.setattr("s2robot.data.store.sync_tree", lambda folder: (folder / "time/c.0").unlink())
    assert "went away while it was written" in refusal(lambda: store.append(made_episode(0, 0)))
    assert store.ids() == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES])
def test_a_file_system_that_cannot_sync_folders_is_used_and_that_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(handle)

    durable._say_no_folder_sync.cache_clear()
    monkeypatch.setattr(os, "fsync", refuse)
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for n in range(2):
        store.append(made_episode(0, n))
    assert_intact(store)
    assert capsys.readouterr().err.count("does not sync folders") == 1


def test_all_of_an_episode_is_on_disk_before_append_returns(
    store: DemoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def spy(handle: int) -> None:
        fsync(handle)
        synced.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", spy)
    folder = store.path / store.append(made_episode(0, 0))
    on_disk = {p.stat().st_ino for p in (store.path, folder, *folder.rglob("*"))}
    assert len(on_disk) > 10
    assert on_disk <= synced
