"""What is asked of a UVC camera through OpenCV, and what it gives instead: it may refuse in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s2robot.core.errors import UserError

_MANUAL_EXPOSURE = 1  # of V4L2; 3 is automatic
_NEAR = 0.01  # relative: drivers round


@dataclass(frozen=True)
class UvcSettings:
    """None leaves a setting as the camera has it.

    Attributes:
        width, height: px. fps: Hz.
        fourcc: of the transfer, e.g. MJPG, without which USB 2 has no room for large frames at full rate.
        exposure: fixed, in the driver's unit (V4L2: 100 µs). gain: in the driver's unit.
        white_balance: fixed, in K.

    Raises UserError for a fourcc that is no four characters.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = None
    exposure: float | None = None
    gain: float | None = None
    white_balance: float | None = None

    def __post_init__(self) -> None:
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise UserError(f"fourcc={self.fourcc}: expected four characters, such as MJPG")

    def apply(self, capture: Any) -> list[str]:
        """Asks an open `cv2.VideoCapture`; returns in words what it gives instead."""
        import cv2

        fourcc = None if self.fourcc is None else cv2.VideoWriter.fourcc(*self.fourcc)
        automatic = [
            (cv2.CAP_PROP_AUTO_EXPOSURE, None if self.exposure is None else _MANUAL_EXPOSURE),
            (cv2.CAP_PROP_AUTO_WB, None if self.white_balance is None else 0),
        ]
        settings = {  # the format decides which sizes and rates there are
            "fourcc": (cv2.CAP_PROP_FOURCC, fourcc),
            "width": (cv2.CAP_PROP_FRAME_WIDTH, self.width),
            "height": (cv2.CAP_PROP_FRAME_HEIGHT, self.height),
            "fps": (cv2.CAP_PROP_FPS, self.fps),
            "exposure": (cv2.CAP_PROP_EXPOSURE, self.exposure),
            "gain": (cv2.CAP_PROP_GAIN, self.gain),
            "white_balance": (cv2.CAP_PROP_WB_TEMPERATURE, self.white_balance),
        }
        given = {name: setting for name, setting in settings.items() if setting[1] is not None}
        asked = {name: (number, float(value or 0)) for name, (number, value) in given.items()}
        for number, value in (*((n, v) for n, v in automatic if v is not None), *asked.values()):
            capture.set(number, value)
        got = {name: float(capture.get(number)) for name, (number, _) in asked.items()}
        return [
            f"{name} {_written(name, got[name])} instead of {_written(name, value)}"
            for name, (_, value) in asked.items()
            if abs(got[name] - value) > _NEAR * abs(value)
        ]


def _written(name: str, value: float) -> str:
    if name != "fourcc":
        return f"{value:g}"
    text = int(value).to_bytes(4, "little", signed=value < 0).decode("ascii", "replace")
    return text if text.isprintable() else "none"
