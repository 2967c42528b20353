"""Cameras: films, and a stream that stalls, with the times of their frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from mistakes import refusal

from s2robot.robot.cameras.camera import VideoCamera, resized
from s2robot.robot.clock import Clock
from s2robot.utils.video import encode_mp4


def waits_for(condition, seconds: float = 30.0) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Six frames that grow brighter, red on the left."""
    frames = [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(6)]
    for frame in frames:
        frame[:, :32, 0] = 255
    path = tmp_path / "film.mp4"
    path.write_bytes(encode_mp4(frames, fps=20))
    return path


def test_a_film_plays_again_and_again_in_rgb(film: Path) -> None:
    camera = VideoCamera(str(film), size=(24, 32))
    camera.open()
    try:
        first = camera.latest()
        assert first.image.shape == camera.shape == (24, 32, 3) and first.image.dtype == np.uint8
        red = first.image[:, :12].astype(int)
        assert (red[..., 0] - red[..., 2]).min() > 50, "red stays red"
        assert waits_for(lambda: camera.latest().number > 8), "it starts again after six frames"
        later = camera.latest()
        assert first.time < later.time <= Clock().now()
    finally:
        camera.close()
    number = camera.latest().number
    time.sleep(0.2)
    assert camera.latest().number == number, "closed, it reads no more"


def test_times_are_on_the_session_s_clock(film: Path) -> None:
    slow = Clock(0.25)
    camera = VideoCamera(str(film), size=(24, 32), clock=slow)
    before = slow.now()
    camera.open()
    assert before <= camera.latest().time <= slow.now()
    camera.close()


class Stream(BaseHTTPRequestHandler):
    """MJPEG for as long as the server's `flowing` is set."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        number = 0
        while not self.server.ended.is_set():  # type: ignore[attr-defined]
            if self.server.flowing.wait(0.05):  # type: ignore[attr-defined]
                number += 1
                picture = np.full((32, 32, 3), 4 * number % 256, np.uint8)
                jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                head = b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                try:
                    self.wfile.write(head + jpeg + b"\r\n")
                except OSError:
                    return
                time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def stream() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    server.flowing, server.ended = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    server.flowing.set()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.ended.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_stream_that_stalls_grows_old_and_comes_back(stream: ThreadingHTTPServer) -> None:
    camera = VideoCamera(f"http://127.0.0.1:{stream.server_address[1]}/", size=(32, 32), wait=2.0)
    camera.open()
    try:
        assert waits_for(lambda: camera.latest().number > 3)
        stream.flowing.clear()  # type: ignore[attr-defined]
        assert waits_for(lambda: Clock().now() - camera.latest().time > 0.5), "its age tells"
        stale = camera.latest().number
        stream.flowing.set()  # type: ignore[attr-defined]
        assert waits_for(lambda: camera.latest().number > stale + 2)
    finally:
        camera.close()


def test_a_camera_that_is_not_there_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.mp4"
    said = refusal(VideoCamera(str(nothing), size=(16, 16)).open)
    assert said.startswith(f"cannot open camera {nothing}: no such")


def test_frames_keep_their_aspect_ratio_and_all_that_the_sensor_sees() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, :20], picture[:, 80:] = 100, 200
    half = resized(picture, (20, 50))
    assert half.shape == (20, 50, 3) and (half[:, :10] == 100).all() and (half[:, 40:] == 200).all()
    assert np.array_equal(resized(picture, (40, 100)), picture)
    assert resized(np.zeros((480, 640, 3), np.uint8), (448, 597)).shape == (448, 597, 3)
    said = refusal(lambda: resized(picture, (40, 40)))
    assert said == "the camera gives 40 x 100 px: size=[40, 40] would squash it, size=[40, 100] fits"


def test_a_camera_of_another_aspect_ratio_than_asked_for_is_told_when_it_opens(film: Path) -> None:
    said = refusal(VideoCamera(str(film), size=(48, 48)).open)
    assert "size=[48, 48] would squash it, size=[48, 64] fits" in said
    assert "expected [height, width]" in refusal(lambda: VideoCamera(str(film), size=(48,)))


class Uvc:
    """A `cv2.VideoCapture` of a UVC camera that knows one size and takes no white balance.

    `asked` holds what it was asked for, in that order.
    """

    def __init__(self, *source: object) -> None:
        size = {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}
        self.values = {**size, cv2.CAP_PROP_FPS: 30.0}
        self.asked: dict[int, float] = {}

    def isOpened(self) -> bool:
        return True

    def set(self, number: int, value: float) -> bool:
        self.asked[number] = value
        fixed = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_WB_TEMPERATURE)
        if number not in fixed:
            self.values[number] = value
        return True

    def get(self, number: int) -> float:
        return self.values.get(number, 0.0)

    def grab(self) -> bool:
        time.sleep(0.005)
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None:
        """Nothing is held."""


def test_a_uvc_camera_is_asked_and_what_it_gives_instead_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uvc = Uvc()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *source: uvc)
    asked = {"width": 1280, "height": 960, "fps": 30, "fourcc": "MJPG", "gain": 4, "exposure": 150}
    camera = VideoCamera("/dev/video7", size=(240, 320), white_balance=4600, **asked)
    camera.open()
    camera.close()
    assert capsys.readouterr().out == (
        "camera /dev/video7 gives width 640 instead of 1280, height 480 instead of 960, "
        "white_balance 0 instead of 4600\n"
    )
    order = list(uvc.asked)
    assert order.index(cv2.CAP_PROP_FOURCC) < order.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert uvc.asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert uvc.asked[cv2.CAP_PROP_AUTO_EXPOSURE] == 1 and uvc.asked[cv2.CAP_PROP_EXPOSURE] == 150
    assert uvc.asked[cv2.CAP_PROP_AUTO_WB] == 0


def test_a_uvc_camera_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uvc = Uvc()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *source: uvc)
    camera = VideoCamera(0, size=(240, 320))
    camera.open()
    camera.close()
    assert set(uvc.asked) == {cv2.CAP_PROP_BUFFERSIZE} and capsys.readouterr().out == ""
    assert "expected four characters" in refusal(lambda: VideoCamera(0, size=(240, 320), fourcc="MJPEG"))
