"""RealSense cameras, through their maker's own library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.cameras.camera import ThreadedCamera
from s2robot.robot.clock import Clock


class RealSenseCamera(ThreadedCamera):
    """A RealSense's colour stream. Run here on recordings, never on a device: see docs/robot.md.

    Args:
        serial: which one; None for the only one.
        stream: (width, height) px and frames a second asked for.
        recording: a file of the maker's recorder (.db3, or .bag of a library before that), played at its own
            rate, again and again, in place of a device.

    Raises UserError where pyrealsense2 cannot be loaded.
    """

    def __init__(
        self,
        size: Sequence[int],
        serial: str | None = None,
        stream: Sequence[int] = (640, 480, 30),
        clock: Clock | None = None,
        wait: float = 5.0,
        recording: str | None = None,
    ) -> None:
        super().__init__(size, clock, wait)
        try:
            self._rs: Any = import_module("pyrealsense2")
        except ImportError as error:
            hint = 'pip install "s2robot[realsense]", and the system\'s libusb-1.0'
            raise UserError(f"pyrealsense2 cannot be loaded ({error}): {hint}") from error
        self._serial, self._stream, self._recording = serial, tuple(stream), recording

    def __str__(self) -> str:
        return f"RealSense {self._recording or self._serial or ''}".strip()

    def _start(self) -> None:
        rs = self._rs
        config = rs.config()
        if self._recording is not None:
            if not Path(self._recording).is_file():
                raise UserError(f"cannot open {self}: no such file")
            config.enable_device_from_file(self._recording)
        elif self._serial is not None:
            config.enable_device(self._serial)
        width, height, fps = self._stream
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        pipeline = rs.pipeline()
        try:
            pipeline.start(config)
        except RuntimeError as error:
            raise UserError(f"cannot open {self}: {error}") from error
        self._pipeline = pipeline

    def _grab(self) -> tuple[np.ndarray, float] | None:
        came, frames = self._pipeline.try_wait_for_frames(round(1000 * self._wait))
        time = self._clock.now()
        if not came:
            return None
        return np.array(frames.get_color_frame().get_data()), time

    def _release(self) -> None:
        if hasattr(self, "_pipeline"):
            self._pipeline.stop()
            del self._pipeline
