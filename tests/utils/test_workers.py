"""Jobs in processes of their own: every result, every error, and death told in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistakes import refusal

from s2robot.core.errors import UserError
from s2robot.utils.workers import run_jobs


def log_start(log: Path) -> int:
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return 100


def refuse_to_start() -> None:
    raise UserError("no such camera")


def crash_at_start() -> None:
    raise ZeroDivisionError("a bug")


def nothing() -> None: ...


def add(context: int, job: int) -> tuple[int, int]:
    return context + job, os.getpid()


def fail_at_two(context: None, job: int) -> int:
    if job == 2:
        raise LookupError("job 2")
    return job


def die(context: None, job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def results(
    work: Callable[[Any, Any], Any], jobs: range, workers: int, start: Callable[..., Any]
) -> list[Any]:
    return list(run_jobs(work, jobs, workers=workers, start=start))


@pytest.mark.parametrize("workers", [0, 2])
def test_each_job_is_done_once_in_processes_that_start_once(tmp_path: Path, workers: int) -> None:
    log = tmp_path / "starts"
    done = list(run_jobs(add, range(20), workers=workers, start=log_start, start_args=(log,)))
    assert sorted(result for result, _ in done) == list(range(100, 120))
    starts = log.read_text().split()
    assert len(starts) == len(set(starts))
    assert {pid for _, pid in done} == {int(pid) for pid in starts}
    assert (os.getpid() in {pid for _, pid in done}) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_results_come_as_they_are_done(workers: int) -> None:
    done = run_jobs(fail_at_two, range(3), workers=workers, start=nothing)
    assert {next(done), next(done)} == {0, 1}  # though the third fails


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_job_raises_is_raised(workers: int) -> None:
    with pytest.raises(LookupError, match="job 2"):
        results(fail_at_two, range(4), workers, nothing)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_at_the_start_keeps_its_own_words(workers: int) -> None:
    assert refusal(lambda: results(add, range(2), workers, refuse_to_start)) == "no such camera"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_at_the_start_stays_a_bug(workers: int) -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        results(add, range(2), workers, crash_at_start)


@pytest.mark.parametrize("workers", [0, 2])
def test_without_jobs_nothing_starts(workers: int) -> None:
    assert results(add, range(0), workers, crash_at_start) == []


def test_a_process_that_dies_is_told_in_one_line() -> None:
    message = refusal(lambda: results(die, range(2), 1, nothing))
    assert message.startswith("a worker process died")


def test_a_negative_number_of_workers_is_refused() -> None:
    assert refusal(lambda: results(add, range(2), -1, nothing)).startswith("workers=-1: expected 0")


ORPHANS = """
import sys
from test_workers import log_start, wait_long
from pathlib import Path
from s2robot.utils.workers import run_jobs
if __name__ == "__main__":
    list(run_jobs(wait_long, range(50), workers=2, start=log_start, start_args=(Path(sys.argv[1]),)))
"""


def wait_long(context: int, job: int) -> None:
    time.sleep(1)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "(zombie)" not in status.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    log, script = tmp_path / "starts", tmp_path / "parent.py"
    script.write_text(ORPHANS)
    paths = f"{Path(__file__).parent}:{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"
    parent = subprocess.Popen(
        [sys.executable, str(script), str(log)], env={**os.environ, "PYTHONPATH": paths}
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    workers = [int(pid) for pid in log.read_text().split()]
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.1)
