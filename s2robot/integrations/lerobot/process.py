"""The pipe to lerobot, which runs in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import select
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.integrations.lerobot import bridge
from s2robot.integrations.lerobot.bridge import Message
from s2robot.integrations.lerobot.environment import clean_env


class Bridge:
    """`bridge.py` in lerobot's environment, offline, for one folder; use it in a `with` statement.

    Args:
        own_home: lerobot finds nothing of the user's, such as calibrations, and leaves nothing there.
    """

    def __init__(self, python: Path, action: str, folder: Path, own_home: bool = True) -> None:
        self._cache = TemporaryDirectory(prefix="s2robot-lerobot-")  # the hub's library caches all it reads
        self._log = Path(self._cache.name, "log")
        env = clean_env() | dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"), "1")
        env |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"} | (
            {"HF_HOME": self._cache.name} if own_home else {}
        )
        command = [python, "-I", bridge.__file__, action, folder.absolute()]
        with self._log.open("wb") as log:
            self._process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, env=env)

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self, grace: float = 0.0) -> None:
        """Ends the process, which has so many seconds to do so by itself."""
        with suppress(OSError, TimeoutExpired):
            self._process.stdin.close()  # type: ignore[union-attr]
            self._process.wait(grace)
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it has not read cannot be flushed
                pipe.close()  # type: ignore[union-attr]
        self._process.wait()
        self._cache.cleanup()

    def ask(self, head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> Message:
        """Sends a message and waits for the answer. Raises UserError as `send` and `receive`."""
        self.send(head, arrays)
        return self.receive()

    def send(self, head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Sends a message. Raises UserError with lerobot's last line if it has ended."""
        assert self._process.stdin is not None
        try:
            bridge.send(self._process.stdin, head, arrays)
        except BrokenPipeError as error:
            raise self._failure() from error

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises UserError with lerobot's last line if there is none.

        Raises TimeoutError where it does not begin within so many seconds.
        """
        assert self._process.stdout is not None
        if not select([self._process.stdout], [], [], timeout)[0]:
            raise TimeoutError(f"lerobot does not answer within {timeout:g} s")
        with suppress(EOFError):
            if message := bridge.receive(self._process.stdout):
                return message
        raise self._failure()

    def end(self) -> Message:
        """Says that nothing more comes, and waits for the last answer."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.receive()

    def _failure(self) -> UserError:
        self._process.wait()
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return UserError(f"lerobot failed: {lines[-1].strip() if lines else self._process.returncode}")
