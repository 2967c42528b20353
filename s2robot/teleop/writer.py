"""Demos on their way to the disk: the control loop never waits for it."""

from __future__ import annotations

import threading
from collections import deque

from s2robot.core.errors import UserError
from s2robot.data.durable import staged
from s2robot.data.store import DemoStore, Episode


class BackgroundWriter:
    """Appends episodes to a store in a thread of its own, in order.

    What the disk refuses stays in memory and is tried again with `retry`.

    Raises UserError where the store cannot be written to already.
    """

    def __init__(self, store: DemoStore) -> None:
        import zarr  # noqa: F401  (now, and not while the first demo is written and the next take runs)

        with staged(store.path, "probe"):  # a read-only folder is better known before the first take
            pass
        self._store = store
        self._waiting: deque[Episode] = deque()
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._closing = False
        self.committed: list[str] = []
        self._thread = threading.Thread(target=self._run, name="demo writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Episodes that are not on the disk yet."""
        return len(self._waiting)

    @property
    def error(self) -> str | None:
        """Why the disk refuses, None where it does not. Raises what is no user's mistake."""
        if self._failure and not isinstance(self._failure, UserError):
            raise self._failure
        return str(self._failure) if self._failure else None

    def put(self, episode: Episode) -> None:
        """Has an episode written; returns at once."""
        with self._changed:
            self._waiting.append(episode)
            self._changed.notify_all()

    def retry(self) -> None:
        """Tries once more what the disk refused."""
        with self._changed:
            self._failure = None
            self._changed.notify_all()

    def flush(self) -> None:
        """Returns when everything is on the disk, or the disk refuses."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._failure)

    def close(self) -> None:
        """Ends the thread after a last try. Raises UserError for episodes that are lost now."""
        self.retry()
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self.error:
            raise UserError(f"{self.pending} kept {_demos(self.pending)} lost: {self.error}")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._waiting and not self._failure))
                if self._closing:
                    return
                episode = self._waiting[0]
            self._write(episode)

    def _write(self, episode: Episode) -> None:
        try:
            written = self._store.append(episode)
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            return
        with self._changed:
            self.committed.append(written)
            self._waiting.popleft()
            self._changed.notify_all()


def _demos(count: int) -> str:
    return "demo is" if count == 1 else "demos are"
