"""Independent jobs in processes of their own: a simulator never shares one with torch's threads."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.rollout import Subscriber
from s2robot.utils.allocator import keep_freed_memory, without_collections
from s2robot.utils.signals import ENDING, end_with

_TICK = 1.0  # s between two looks at who is silent
_HEARD_EVERY = 0.5  # s, at most, between two signs of life
_PATIENCE = 5.0  # s for a worker without a job to end
_NEVER_FORKED = ("torch", "mujoco", "cv2", "obstore")  # they may hold threads or OpenGL of their own

_sign: Callable[[], None] = lambda: None  # noqa: E731


@dataclass(frozen=True)
class Patience:
    """How long a job may give no sign of life before it counts as hung.

    Attributes:
        start: s, from the start of its process to the first sign: imports, the simulator, the first frame.
        step: s, from one sign to the next.
        name: what a job is called in the message.
    """

    start: float
    step: float
    name: Callable[[Any], str] = str


class Heartbeat(Subscriber):
    """Gives a sign of life at every step of a rollout."""

    def on_reset(self, observation: Any, info: dict[str, Any]) -> None:
        _sign()

    def on_step(self, observation: Any, action: Any, info: dict[str, Any]) -> None:
        _sign()


def run_jobs(
    work: Callable[[Any, Any], Any],
    jobs: Iterable[Any],
    *,
    workers: int,
    start: Callable[..., Any],
    start_args: tuple[Any, ...] = (),
    patience: Patience | None = None,
) -> Iterator[Any]:
    """Yields `work(context, job)` for each job as it is done, in whatever order that is.

    Args:
        work, start: functions of a module, since they are named to other processes.
        workers: processes; 0 does everything in this one.
        start: makes each process's context (a simulator, a policy) once, from `start_args`, for its first
            job.
        patience: with those whose jobs give signs of life (`Heartbeat`); None: without end.

    Raises:
        UserError: fewer than 0 workers, a process that died or one that hangs, which is killed. What `start`
            or a job raises is raised here. With `workers=0` a job that hangs ends this process: exit code 2.
    """
    if workers < 0:
        raise UserError(f"workers={workers}: expected 0 (in this process) or more")
    jobs = list(jobs)
    if not jobs:
        return
    if workers == 0:
        yield from _run_here(work, jobs, start, start_args, patience)
        return
    crew = [_Worker(work, start, start_args) for _ in range(workers)]
    try:
        yield from _run(crew, deque(jobs), patience)
        for worker in crew:
            worker.dismiss()
    finally:
        for worker in crew:
            worker.kill()


def _run(crew: list[_Worker], jobs: deque[Any], patience: Patience | None) -> Iterator[Any]:
    while True:
        for worker in crew:
            if worker.job is None and jobs:
                worker.give(jobs.popleft())
        busy = {worker.connection: worker for worker in crew if worker.job is not None}
        if not busy:
            return
        began = time.monotonic()
        heard = wait(list(busy), timeout=_TICK)
        # No longer than a tick: where this process was stopped meanwhile, so were they perhaps.
        passed = min(time.monotonic() - began, 2 * _TICK)
        for connection, worker in busy.items():
            if connection in heard:
                yield from worker.results()
            else:
                worker.silence += passed
                if patience and worker.job and worker.silence > worker.limit(patience):
                    raise _hung(patience, *worker.job, worker.silence, f"worker process {worker.pid}")


def _hung(patience: Patience, job: Any, silence: float, where: str) -> UserError:
    return UserError(
        f"{patience.name(job)} has not moved for {silence:.0f} s (does a renderer hang?): {where} is ended, "
        "what is finished is kept; run the same command again, perhaps with another step_timeout= or "
        "start_timeout="
    )


class _Worker:
    """A process that does one job at a time.

    Attributes:
        job: at which it is, in a tuple; None for none.
        silence: s since its last sign of life.
    """

    def __init__(self, work: Any, start: Any, start_args: tuple[Any, ...]) -> None:
        forks, spawns = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
        context = forks if _may_fork() else spawns
        self.connection, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), work, start, start_args)
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        theirs.close()
        self.job: tuple[Any] | None = None
        self.silence = 0.0
        self._has_moved = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def limit(self, patience: Patience) -> float:
        return patience.step if self._has_moved else patience.start

    def give(self, job: Any) -> None:
        self.job, self.silence = (job,), 0.0
        self._expect(lambda: self.connection.send((job,)))

    def results(self) -> Iterator[Any]:
        """What it has to say: nothing but a sign of life, or what came of its job."""
        self.silence, self._has_moved = 0.0, True
        message = self._expect(self.connection.recv)
        if message is None:
            return
        self.job = None
        result, error = message
        if error is not None:
            raise error
        yield result

    def dismiss(self) -> None:
        self._expect(lambda: self.connection.send(None))
        self._process.join(_PATIENCE)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _expect(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (EOFError, ConnectionError) as error:
            raise UserError(
                "a worker process died (out of memory, killed, or it could not start): what is finished is "
                "kept; run the same command again, perhaps with fewer workers"
            ) from error


def _may_fork() -> bool:
    """Forked, a worker has what is imported here; but only a process of one thread is forked safely."""
    is_simple = threading.active_count() == 1 and not any(name in sys.modules for name in _NEVER_FORKED)
    return is_simple and sys.platform.startswith("linux")


# ---------------------------------------------------------------------- in a worker's process


def _serve(
    connection: Connection, parent: int, work: Any, start: Callable[..., Any], start_args: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    for number in ENDING:
        if callable(signal.getsignal(number)):  # the parent's, where this process was forked
            signal.signal(number, signal.SIG_DFL)
    end_with(parent)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    _sign_with(lambda: connection.send(None))
    context: list[Any] = []
    while given := connection.recv():
        try:
            if not context:  # for the first job, so that what is raised is told as of a job
                with without_collections():
                    context.append(start(*start_args))
            connection.send((work(context[0], *given), None))
        except Exception as error:
            connection.send((None, _portable(error)))


def _end_with_parent() -> None:
    """Where the kernel does not see to it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sign_with(send: Callable[[], None]) -> None:
    """From now on a sign of life is this, given now and then."""
    global _sign
    last = 0.0

    def sign() -> None:
        nonlocal last
        if time.monotonic() - last > _HEARD_EVERY:
            last = time.monotonic()
            send()

    _sign = sign


def _portable(error: Exception) -> Exception:
    """The error, or one of its kind and words where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = UserError if isinstance(error, UserError) else RuntimeError
        return kind(str(error) if kind is UserError else traceback.format_exc())
    if not isinstance(error, UserError):
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    return error


# ---------------------------------------------------------------------- in this process


def _run_here(
    work: Any,
    jobs: list[Any],
    start: Callable[..., Any],
    start_args: tuple[Any, ...],
    patience: Patience | None,
) -> Iterator[Any]:
    watch = _Watch(patience) if patience else None
    try:
        context: list[Any] = []
        for job in jobs:
            if watch:
                watch.begin(job)
            context = context or [start(*start_args)]
            result = work(context[0], job)
            if watch:
                watch.pause()
            yield result
    finally:
        if watch:
            watch.stop()


class _Watch:
    """Ends this process where its job gives no sign of life. A call that hangs cannot be broken off."""

    def __init__(self, patience: Patience) -> None:
        self._patience, self._limit = patience, patience.start
        self._job: tuple[Any] | None = None
        self._silence = 0.0
        self._done = threading.Event()
        _sign_with(self._hear)
        threading.Thread(target=self._look, daemon=True).start()

    def begin(self, job: Any) -> None:
        self._job, self._silence = (job,), 0.0

    def pause(self) -> None:
        self._job = None

    def stop(self) -> None:
        self._done.set()
        _sign_with(lambda: None)

    def _hear(self) -> None:
        self._silence, self._limit = 0.0, self._patience.step

    def _look(self) -> None:
        began = time.monotonic()
        while not self._done.wait(min(_TICK, self._limit)):
            now = time.monotonic()
            self._silence += min(now - began, 2 * _TICK)  # no longer: this process may have been stopped
            began = now
            if self._job and self._silence > self._limit:
                error = _hung(self._patience, *self._job, self._silence, "this process")
                print(f"s2robot: {error}", file=sys.stderr, flush=True)
                os._exit(2)
