"""Jobs in processes of their own: every result, every error, and death told in one line."""

from __future__ import annotations

import multiprocessing
import os
import re
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
from s2robot.utils.workers import Heartbeat, Patience, run_jobs


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


def stop_moving(context: None, job: int) -> int:
    Heartbeat().on_reset({}, {})
    if job == 1:
        time.sleep(1000)
    return job


def stop_at_start() -> None:
    time.sleep(1000)


def name_of(job: int) -> str:
    return f"demo {job}"


def test_a_process_that_hangs_is_named_and_ended() -> None:
    done = run_jobs(stop_moving, range(3), workers=1, start=nothing, patience=Patience(600, 0.2, name_of))
    assert next(done) == 0
    said = refusal(lambda: next(done))
    assert re.match(
        r"demo 1 has not moved for [12] s \(does a renderer hang\?\): worker process [0-9]+ is", said
    )
    assert not multiprocessing.active_children()


def test_a_process_that_hangs_before_its_first_step_is_ended_too() -> None:
    patience = Patience(0.2, 600, name_of)
    said = refusal(lambda: list(run_jobs(add, range(3), workers=2, start=stop_at_start, patience=patience)))
    assert said.startswith(("demo 0 has not moved", "demo 1 has not moved"))


def test_a_job_that_takes_long_but_moves_is_left_alone() -> None:
    patience = Patience(600, 2, name_of)
    assert list(run_jobs(move_slowly, range(1), workers=1, start=nothing, patience=patience)) == [0]


def move_slowly(context: None, job: int) -> int:
    for _ in range(8):
        time.sleep(0.5)
        Heartbeat().on_step({}, None, {})
    return job


HANGS = """
from test_workers import name_of, nothing, stop_moving
from s2robot.utils.workers import Patience, run_jobs
for done in run_jobs(stop_moving, range(3), workers=0, start=nothing, patience=Patience(600, 0.2, name_of)):
    print(done, flush=True)
"""


def test_this_process_ends_itself_where_it_hangs() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGS], env=environment(), capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "0\n")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("s2robot: demo 1 has not moved for ")


ORPHANS = """
import sys
from test_workers import log_start, wait_long
from pathlib import Path
from s2robot.utils.workers import Heartbeat, Patience, run_jobs
if __name__ == "__main__":
    list(run_jobs(wait_long, range(50), workers=2, start=log_start, start_args=(Path(sys.argv[1]),)))
"""


def wait_long(context: int, job: int) -> None:
    time.sleep(1)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in Path(__file__).parents[:3])}


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "(zombie)" not in status.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    log, script = tmp_path / "starts", tmp_path / "parent.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script), str(log)], env=environment())
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


FORK = """
import os, signal, sys
from s2robot.utils.workers import run_jobs
{before}
open("{log}", "a").write("imported ")

def start():
    return "made"

def work(context, job):
    return context, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, os.getpid()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    [(context, can_be_ended, pid)] = run_jobs(work, [1], workers=1, start=start)
    print(context, can_be_ended, pid != os.getpid())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
@pytest.mark.parametrize(
    ("before", "is_forked"),
    [
        ("", True),
        ("sys.modules['torch'] = sys", False),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", False),
    ],
    ids=["alone", "torch", "thread"],
)
def test_a_process_is_forked_only_without_threads_and_torch(
    tmp_path: Path, before: str, is_forked: bool
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(FORK.format(before=before, log=tmp_path / "imports"))
    ran = subprocess.run([sys.executable, str(script)], env=environment(), capture_output=True, text=True)
    assert ran.stdout == "made True True\n", ran.stderr
    imports = (tmp_path / "imports").read_text().split()
    assert len(imports) == (1 if is_forked else 2)  # a spawned process imports the script anew
