"""Cameras: the newest frame with the time it was captured, read in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from s2robot.core.errors import UserError
from s2robot.robot.cameras.uvc import UvcSettings
from s2robot.robot.clock import Clock


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture: uint8 RGB (H, W, 3), when it was captured (s), and how many there were before it."""

    image: np.ndarray
    time: float
    number: int


class Camera(Protocol):
    """Frames of one shape, the newest first. Nothing here waits but `open`."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def open(self) -> None:
        """Begins to read. Raises UserError where no frame comes."""
        ...

    def latest(self) -> Frame:
        """The newest frame, however old: its time tells."""
        ...

    def close(self) -> None:
        """Lets go of the camera."""
        ...


class ThreadedCamera(ABC):
    """Reads as quickly as frames come, and keeps the newest.

    Args:
        size: (height, width) px of the frames, in the aspect ratio of the sensor: they are resized, never cut
            or squashed. How a policy fits them to its encoder is its own matter (`s2robot.vision.fit`).
        clock: of the session.
        wait: s until the first frame has to be there.

    Raises UserError for a size that is none.
    """

    def __init__(self, size: Sequence[int], clock: Clock | None = None, wait: float = 5.0) -> None:
        if len(size) != 2 or min(size) < 1:
            raise UserError(f"size={list(size)}: expected [height, width] in px")
        self.shape = (size[0], size[1], 3)
        self._clock, self._wait = clock or Clock(), wait
        self._frame: Frame | None = None
        self._first, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = None

    def open(self) -> None:
        self._ending.clear()
        self._first.clear()
        self._frame, self.problem = None, None
        self._start()
        self._thread = threading.Thread(target=self._run, name=f"camera {self}", daemon=True)
        self._thread.start()
        if not self._first.wait(self._wait) or self._frame is None:
            self.close()
            why = self.problem or "it is silent"
            raise UserError(f"{self} gives no frame within {self._wait:g} s: {why}")

    def latest(self) -> Frame:
        assert self._frame is not None, "open comes first"
        return self._frame

    def close(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(2 * self._wait)
        self._release()

    @abstractmethod
    def _start(self) -> None:
        """Opens the device. Raises UserError where it is not there."""

    @abstractmethod
    def _grab(self) -> tuple[np.ndarray, float] | None:
        """The next picture, uint8 RGB (h, w, 3), and when it was captured; None where none came."""

    @abstractmethod
    def _release(self) -> None:
        """Closes the device."""

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set():
            try:
                grabbed = self._grab()
                if grabbed is None:
                    continue
                image, time = grabbed
                self._frame = Frame(resized(image, self.shape[:2]), time, number)
            except UserError as error:
                self.problem = str(error)
                self._first.set()
                return
            except Exception as error:  # a driver raises what it likes: the frame grows stale, the arm stops
                self.problem = f"{type(error).__name__}: {error}"
                self._first.set()
                return
            number += 1
            self._first.set()


class VideoCamera(ThreadedCamera):
    """What OpenCV opens: a UVC camera by its number or `/dev/video0`, a film, or the URL of a stream.

    A film plays at its own rate, again and again; the end of a stream is retried.

    Args:
        source: number, path or URL.
        width, height, fps, fourcc, exposure, gain, white_balance: asked of a UVC camera, see `UvcSettings`;
            where it gives something else, that is printed.

    Raises UserError where OpenCV is missing.
    """

    def __init__(
        self,
        source: int | str,
        size: Sequence[int],
        clock: Clock | None = None,
        wait: float = 5.0,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
        exposure: float | None = None,
        gain: float | None = None,
        white_balance: float | None = None,
    ) -> None:
        super().__init__(size, clock, wait)
        if find_spec("cv2") is None:
            raise UserError('OpenCV missing: pip install "s2robot[cameras]"')
        self._source = source
        self._settings = UvcSettings(width, height, fps, fourcc, exposure, gain, white_balance)
        self._is_film = isinstance(source, str) and "://" not in source and not source.startswith("/dev/")

    def __str__(self) -> str:
        return f"camera {self._source}"

    def _start(self) -> None:
        import cv2

        parameters: list[int] = []
        if isinstance(self._source, str) and "://" in self._source:  # a server that stalls must not hold us
            wait = round(1000 * self._wait)
            parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait]
        self._capture = cv2.VideoCapture(self._source, cv2.CAP_ANY, parameters)
        if not self._capture.isOpened():
            self._capture.release()
            raise UserError(f"cannot open {self}: no such device, file or stream, or of an unknown kind")
        if not self._is_film:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if unlike := self._settings.apply(self._capture):
                print(f"{self} gives {', '.join(unlike)}", flush=True)
        self._period = 1.0 / (self._capture.get(cv2.CAP_PROP_FPS) or 30.0)
        self._due = self._clock.now()

    def _grab(self) -> tuple[np.ndarray, float] | None:
        import cv2

        if self._is_film:
            self._clock.sleep(self._due - self._clock.now())
            self._due = max(self._due + self._period, self._clock.now())
        good = self._capture.grab()
        time = self._clock.now()  # before it is decoded
        picture = self._capture.retrieve()[1] if good else None
        if picture is None:
            return self._again()
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), time

    def _again(self) -> None:
        import cv2

        if self._is_film:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        elif not self._ending.wait(0.1):
            self.problem = "it has stopped"
            self._capture.release()
            self._capture.open(self._source)
            self._settings.apply(self._capture)

    def _release(self) -> None:
        if hasattr(self, "_capture"):
            self._capture.release()


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture uint8 (h, w, 3) at `size` (H, W) px.

    Raises UserError where the aspect ratio differs by more than the rounding to whole px.
    """
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    (height, width), (wanted_height, wanted_width) = image.shape[:2], size
    if abs(wanted_width - wanted_height * width / height) > 1:
        fitting = [wanted_height, round(wanted_height * width / height)]
        raise UserError(
            f"the camera gives {height} x {width} px: size={list(size)} would squash it, size={fitting} fits"
        )
    import cv2

    how = cv2.INTER_AREA if height > wanted_height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (wanted_width, wanted_height), interpolation=how))
