"""RealSense cameras, through their maker's own library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from s2robot.errors import UserError
from s2robot.robot.camera import ThreadedCamera
from s2robot.robot.clock import Clock


class RealSenseCamera(ThreadedCamera):
    """A RealSense's colour stream. Never run on the device here: see docs/robot.md.

    Args:
        serial: which one; None for the only one.
        stream: (width, height) px and frames a second asked for.

    Raises UserError where pyrealsense2 is missing.
    """

    def __init__(
        self,
        size: int,
        serial: str | None = None,
        stream: Sequence[int] = (640, 480, 30),
        clock: Clock | None = None,
        wait: float = 5.0,
    ) -> None:
        super().__init__(size, clock, wait)
        if find_spec("pyrealsense2") is None:
            raise UserError('pyrealsense2 missing: pip install "s2robot[realsense]"')
        self._serial, self._stream = serial, tuple(stream)

    def __str__(self) -> str:
        return f"RealSense {self._serial or ''}".strip()

    def _start(self) -> None:
        import pyrealsense2 as rs  # pyright: ignore[reportMissingImports]

        config = rs.config()
        if self._serial is not None:
            config.enable_device(self._serial)
        width, height, fps = self._stream
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        self._pipeline = rs.pipeline()
        try:
            self._pipeline.start(config)
        except RuntimeError as error:
            raise UserError(f"cannot open {self}: {error}") from error

    def _grab(self) -> tuple[np.ndarray, float] | None:
        frames = self._pipeline.wait_for_frames(round(1000 * self._wait))
        time = self._clock.now()
        return np.array(frames.get_color_frame().get_data()), time

    def _release(self) -> None:
        if hasattr(self, "_pipeline"):
            self._pipeline.stop()
