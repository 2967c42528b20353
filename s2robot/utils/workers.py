"""Independent jobs in processes of their own: a simulator never shares one with torch's threads."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import Any

from s2robot.core.errors import UserError
from s2robot.utils.allocator import keep_freed_memory

_context: Callable[[], Any]


def run_jobs(
    work: Callable[[Any, Any], Any],
    jobs: Iterable[Any],
    *,
    workers: int,
    start: Callable[..., Any],
    start_args: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yields `work(context, job)` for each job as it is done, in whatever order that is.

    Args:
        work, start: functions of a module, since they are named to other processes.
        workers: processes; 0 does everything in this one.
        start: makes each process's context (a simulator, a policy) once, from `start_args`, for its first
            job.

    Raises:
        UserError: fewer than 0 workers, or a process that died. What `start` or a job raises is raised here.
    """
    if workers < 0:
        raise UserError(f"workers={workers}: expected 0 (in this process) or more")
    jobs = list(jobs)
    if not jobs:
        return
    if workers == 0:
        context = start(*start_args)
        yield from (work(context, job) for job in jobs)
        return
    executor = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(start, start_args)
    )
    try:
        pending: set[Future] = {executor.submit(_work, work, job) for job in jobs}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died (out of memory, killed, or it could not start): what is finished is kept; "
            "run the same command again, perhaps with fewer workers"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start(start: Callable[..., Any], start_args: tuple[Any, ...]) -> None:
    global _context
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    # Made by the first job: what an initializer raises would be reported as a process that died.
    _context = cache(partial(start, *start_args))


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on to the end of its queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[Any, Any], Any], job: Any) -> Any:
    return work(_context(), job)
