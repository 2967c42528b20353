"""Who left a temporary file: only what surely ended is given up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import TAG, ended_tag, foreign_tag, reused_tag

from s2robot.utils.atomic_io import write_atomic
from s2robot.utils.processes import is_left_over, temporary_tag


def test_a_process_that_ended_is_told_from_those_that_run_or_may_run() -> None:
    assert is_left_over(f"000000-{ended_tag()}")
    assert is_left_over(f".{reused_tag()}.out"), "the number alone is another process's"
    for name in (f"000000-{temporary_tag()}", f"000000-{foreign_tag()}", "notes", "a-12-0f", "zarr.json"):
        assert not is_left_over(name)


def test_a_process_of_another_container_is_foreign() -> None:
    """In a PID namespace of its own, of which a container has one too, numbers mean other processes."""
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", TAG]
    try:
        ran = subprocess.run(isolated, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if ran.returncode:
        pytest.skip(f"no new PID namespace here: {ran.stderr}")
    assert not is_left_over(ran.stdout.strip()), "it has ended, but from here nobody can know"


def test_what_killed_writers_left_is_removed_by_the_next_writer_of_the_file(tmp_path: Path) -> None:
    gone, kept = tmp_path / f".x.json.{ended_tag()}", tmp_path / f".x.json.{foreign_tag()}"
    for file in (gone, kept):
        file.write_text("half")
    write_atomic(tmp_path / "x.json", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"x.json", kept.name}
