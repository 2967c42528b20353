"""franky-sim as a process: Franka's interface over MuJoCo's physics, with the Franka Hand.

It has no reflexes, and its port is the interface's own (1337). Make an environment for it with

    python -m venv FOLDER && FOLDER/bin/pip install franky-sim==1.0.4 "mujoco<3.10"

and name the folder in the environment variable S2ROBOT_FRANKY_SIM.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

VARIABLE = "S2ROBOT_FRANKY_SIM"
HOST, PORT = "127.0.0.1", 1337
_STARTUP = 120  # s


def folder() -> Path | None:
    """Where franky-sim is installed; None where it is not."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else None
    return path if path and (path / "bin" / "franky-sim").is_file() else None


class FrankyServer:
    """Runs from `with` to its end."""

    def __enter__(self) -> FrankyServer:
        home = folder()
        assert home is not None, f"{VARIABLE} names no environment of franky-sim"
        command = [str(home / "bin" / "franky-sim"), "-s", "mujoco", "--hostname", HOST]
        env = {**os.environ, "PYTHONPATH": ""}
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _STARTUP
        while not _listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("franky-sim has not come up")
            time.sleep(0.2)
        return self

    def kill(self) -> None:
        """As if its power went."""
        self.process.kill()
        self.process.wait(30)

    def __exit__(self, *error: object) -> None:
        self.kill()


def _listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, PORT)) == 0
