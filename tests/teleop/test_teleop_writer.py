"""Writing in the background, to disks that are full or cannot be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_writer import SPEC, made_episode
from mistakes import refusal

from s2robot.data.store import DemoStore
from s2robot.teleop.writer import BackgroundWriter


@pytest.fixture
def store(tmp_path: Path) -> DemoStore:
    return DemoStore.create(tmp_path / "demos", SPEC)


def test_what_is_put_is_on_the_disk_in_order_when_the_writer_is_closed(store: DemoStore) -> None:
    writer = BackgroundWriter(store)
    for n in range(5):
        writer.put(made_episode(0, n))
    writer.close()
    assert writer.committed == store.ids() == [f"{n:06d}" for n in range(5)]
    assert [store.episode(i).attributes["n"] for i in store.ids()] == list(range(5))
    assert writer.pending == 0


def test_an_episode_that_does_not_fit_the_store_is_told_and_the_rest_waits(store: DemoStore) -> None:
    writer = BackgroundWriter(store)
    broken = made_episode(0, 0)
    broken.action[0, 0] = float("nan")
    writer.put(broken)
    writer.put(made_episode(0, 1))
    writer.flush()
    assert writer.error and "action[0] 'dx [m]' is nan" in writer.error
    assert writer.pending == 2
    said = refusal(writer.close)
    assert said.startswith("2 kept demos are lost: action[0]")


def test_a_bug_in_the_writer_is_raised_where_the_session_sees_it(
    store: DemoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DemoStore, "append", lambda *_: 1 / 0)
    writer = BackgroundWriter(store)
    writer.put(made_episode(0, 0))
    with pytest.raises(ZeroDivisionError):
        writer.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told_before_the_first_take(store: DemoStore) -> None:
    store.path.chmod(0o555)
    try:
        assert "Permission denied" in refusal(lambda: BackgroundWriter(store))
    finally:
        store.path.chmod(0o755)


# File systems of their own


def mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_once_there_is_room(small_disk: Path) -> None:
    """For real: no room for the second episode, then some is made."""
    ballast = small_disk / "ballast"
    store = DemoStore.create(small_disk / "demos", SPEC)
    writer = BackgroundWriter(store)
    writer.put(made_episode(0, 0, steps=40))
    writer.flush()
    assert writer.committed == ["000000"]
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    writer.put(made_episode(0, 1, steps=40))
    writer.flush()
    assert writer.error == f"cannot write to {store.path}: No space left on device"
    assert store.ids() == ["000000"], "nothing half-written is listed"
    assert not list((store.path / ".staging").iterdir())
    ballast.unlink()
    writer.close()
    assert store.ids() == ["000000", "000001"]
    assert store.episode("000001").attributes["n"] == 1


@pytest.mark.slow
def test_a_read_only_folder_is_told_before_the_first_take(small_disk: Path) -> None:
    store = DemoStore.create(small_disk / "demos", SPEC)
    mount(small_disk, "-o", "remount,ro")
    said = refusal(lambda: BackgroundWriter(store))
    assert said == f"cannot write to {store.path}: Read-only file system"
