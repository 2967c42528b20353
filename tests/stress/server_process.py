"""`s2robot serve` as a process of its own: for measurements and tests of the server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import torch

from s2robot.core.spec import RobotSpec
from s2robot.policy.checkpoint import save_checkpoint
from s2robot.policy.config import PolicyConfig
from s2robot.policy.trunks.transformer import Transformer
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import make_extractor

_STARTUP = 300.0  # s


class ServerProcess:
    """Runs from `with` to its end; there SIGTERM stops it.

    Args:
        options: of `s2robot serve`; the port is any free one.

    Attributes:
        url: where it serves.
        lines: what it has logged so far.

    Raises RuntimeError, with what it logged, where it ends before it serves.
    """

    def __init__(self, *options: str) -> None:
        self._command = [sys.executable, "-m", "s2robot.cli", "serve", "port=0", *options]
        self.lines: list[str] = []
        self.url = ""

    def __enter__(self) -> ServerProcess:
        self.process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        self._serving = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._serving.wait(_STARTUP) or not self.url:
            self.process.kill()
            raise RuntimeError(f"the server did not start: {' '.join(self.lines)}")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self, timeout: float = 30.0) -> int:
        """Its exit code after SIGTERM; after SIGKILL where that takes longer than `timeout` s."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def memory_mb(self) -> float:
        """Its resident memory (MB), as Linux counts it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else 0.0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if found := re.search(r"serving .* on (ws://\S+)", line):
                self.url = found[1]
                self._serving.set()
        self._serving.set()


def write_untrained(
    folder: Path, side: int = 224, cameras: tuple[str, ...] = ("front", "wrist")
) -> RobotSpec:
    """A whole checkpoint in which nothing was learnt, of frames of `side` px; the robot it is for."""
    torch.manual_seed(0)
    encoder = {"name": "random-tiny", "architecture": "tiny", "checkpoint": None, "sizes": [224]}
    extractor = make_extractor(EncoderOptions.of(encoder), bf16=False)
    spec = RobotSpec(
        cameras=dict.fromkeys(cameras, (side, side, 3)),
        proprio=("x [m]", "y [m]", "z [m]", "gripper opening [m]"),
        action=("dx [m]", "dy [m]", "dz [m]", "gripper [-1 open, 1 close]"),
        action_space="ee_delta",
        rate=10.0,
    )
    shapes = dict.fromkeys(cameras, extractor.map_shape())
    sizes = {"cameras": shapes, "proprio_dim": spec.proprio_dim, "action_dim": spec.action_dim}
    model = Transformer(PolicyConfig(**sizes, width=32, trunk_options={"depth": 1, "heads": 2}))
    identity = {"encoder": encoder, "encoder_identity": extractor.identity, "bf16": False, "env": None}
    save_checkpoint(folder, model, spec, identity)
    return spec
