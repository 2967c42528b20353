"""franka-sim as a process: Franka's wire protocol (FCI v10) over simulated joints.

It pins other versions of numpy and mujoco than ours. Make an environment for it with

    python -m venv FOLDER && FOLDER/bin/pip install franka-sim==1.1.7

and name the folder in the environment variable S2ROBOT_FRANKA_SIM. It runs alone by
`python tests/franka_server.py`.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

VARIABLE = "S2ROBOT_FRANKA_SIM"
_MODEL = Path(__file__).with_name("fr3.xml")
_STARTUP = 240  # s


def folder() -> Path | None:
    """Where franka-sim is installed; None where it is not."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else None
    return path if path and (path / "bin" / "run-franka-sim-server").is_file() else None


class FrankaServer:
    """Runs from `with` to its end, with motion and communication limits enforced.

    Attributes:
        host: `address:port`.
    """

    def __init__(self, *options: str) -> None:
        self._options = options or ("--enforce-motion-limits", "--enforce-comm-constraints")

    def __enter__(self) -> FrankaServer:
        home = folder()
        assert home is not None, f"{VARIABLE} names no environment of franka-sim"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.host = f"127.0.0.1:{port}"
        command = [
            str(home / "bin" / "run-franka-sim-server"),
            "--no-gripper",
            "--port",
            port,
            *self._options,
        ]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "FR3_MJCF": str(_MODEL), "PYTHONPATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait = [str(home / "bin" / "franka-sim-check"), "--port", port, "--timeout", str(_STARTUP)]
        try:
            subprocess.run(wait, check=True, capture_output=True, timeout=_STARTUP + 60)
        except BaseException:
            self.process.kill()
            raise
        return self

    def kill(self) -> None:
        """As if its power went."""
        self.process.kill()
        self.process.wait(30)

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)


if __name__ == "__main__":
    with FrankaServer() as server:
        print(f"franka-sim listens at {server.host}", flush=True)
        server.process.wait()
