"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it began is put in order, its exit code says why."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


class Terminated(BaseException):
    """A signal asked the process to end. No Exception, so that nothing goes on after it by mistake.

    Attributes:
        code: the exit code by which a shell knows the signal: 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise Terminated in the main thread.

    A signal that is ignored (`nohup`) or handled by somebody else (submitit) stays so.
    """
    free = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(dict.fromkeys(free, _terminate)):
        yield


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


class Deferred:
    """A signal that waits for a moment at which the state is whole; made by `deferred`.

    Attributes:
        number: of the signal that waits, 0 for none.
    """

    def __init__(self, handlers: Mapping[int, Any]) -> None:
        self.number = 0
        self._handlers = handlers

    def note(self, number: int, frame: FrameType | None) -> None:
        """Of a second one the handler of before is called at once: somebody is in a hurry."""
        if self.number:
            self.deliver(number)
        self.number = number

    def deliver(self, number: int) -> None:
        """Does what the signal would have done; returns where that goes on."""
        self.number = 0
        with _handled(self._handlers):
            signal.raise_signal(number)


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Within it a signal to end, or to be requeued, is noted instead of obeyed: see `Deferred.deliver`.

    Those are SIGTERM, SIGHUP, Ctrl-C, and what Slurm sends before it preempts a job, where somebody
    (submitit) handles it. Outside of the main thread none is.
    """
    handlers = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGINT)}
    handlers |= {n: h for n in (signal.SIGUSR1, signal.SIGUSR2) if callable(h := signal.getsignal(n))}
    handlers = {n: h for n, h in handlers.items() if h is not signal.SIG_IGN}
    waiting = Deferred(handlers)
    with _handled(dict.fromkeys(handlers, waiting.note)):
        yield waiting


@contextmanager
def _handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python allows it there alone
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent, of that number, is gone, whatever ended it. Linux."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before that
            os._exit(1)
