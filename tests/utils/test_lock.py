"""A folder of results is one command's at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mistakes import refusal
from toy_loop import refusal as refused
from toy_loop import training

from s2robot.utils import lock
from s2robot.utils.lock import hold

HOLDER = """
import sys
from s2robot.utils.lock import hold
with hold(sys.argv[1], "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts a process that holds a folder until it is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", HOLDER, folder], text=True, **pipes)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["demos=DEMOS", "encoder=tiny"]),
        ("evaluate", ["checkpoint=CHECKPOINT", "env=toy"]),
        ("pretrain", []),
        ("deploy", ["checkpoint=CHECKPOINT", "robot=mujoco"]),
        ("sweep", ["over=[seed=0,1]", "train=[demos=DEMOS]"]),
        ("reproduce", ["table10"]),
        ("quickstart", []),
    ],
)
def test_the_second_command_in_a_folder_is_refused_and_told_who_is_there(
    tmp_path: Path,
    holder: Callable[[Path], subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
    command: str,
    options: list[str],
) -> None:
    process = holder(tmp_path / "out")
    said = refused(capsys, command, f"out={tmp_path / 'out'}", *options)
    who = (
        rf"`s2robot train` \(process {process.pid} on {re.escape(socket.gethostname())}, since 20[-0-9: ]+\)"
    )
    assert re.search(rf"{tmp_path}/out is in use by {who}: wait for it, end it, or give another out=$", said)
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_crash_lets_go(
    toy_store: Path, tmp_path: Path, holder: Callable[[Path], subprocess.Popen[str]]
) -> None:
    from s2robot import cli

    process = holder(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()
    assert cli.main(training(toy_store, tmp_path, "steps=1", "cameras=[front]")) == 0
    assert not (tmp_path / ".lock").exists()


def test_a_command_that_runs_another_holds_the_folder_once(tmp_path: Path) -> None:
    with hold(tmp_path, "quickstart"), hold(tmp_path / "." / "", "evaluate"):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_the_lock_alone_are_gone_with_it(tmp_path: Path) -> None:
    with hold(tmp_path / "a" / "b", "train"):
        pass
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path / "a" / "b", "train"):
        (tmp_path / "a" / "result").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "result"]


def test_a_folder_that_cannot_be_made_is_left_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with hold(tmp_path / "file" / "out", "train"):
        assert (tmp_path / "file").is_file()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_without_flock_the_owner_is_known_by_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "_SETTLE", 0)
    script = f"import fcntl, os\ndef f(*_): raise OSError({code}, '')\nfcntl.flock = f\n{HOLDER}"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], text=True, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"

        def take() -> None:
            with hold(tmp_path, "evaluate"):
                pass

        said = refusal(take)
        assert f"process {process.pid} on" in said
        assert said.endswith(f"(if that is over, delete {tmp_path / '.lock'})")
        shutil.copy(tmp_path / ".lock", tmp_path / "left")
        process.kill()
    assert (tmp_path / ".lock").exists()
    take()
    # One of another machine: nobody here knows whether it runs.
    left = (tmp_path / "left").read_text()
    (tmp_path / ".lock").write_text(re.sub(r'"place": "[0-9a-f]+"', '"place": "000000000000"', left))
    assert "is in use by `s2robot train`" in refusal(take)
