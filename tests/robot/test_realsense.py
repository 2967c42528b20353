"""The RealSense camera on what its maker's library recorded from a device in software."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistakes import refusal

from s2robot.robot.cameras.realsense import RealSenseCamera
from s2robot.robot.clock import Clock

rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)

WIDTH, HEIGHT, FPS = 64, 48, 30
SIZE = (HEIGHT, WIDTH)


def software_camera() -> tuple[Any, Any, Any]:
    """A device with one colour stream: device, sensor, profile."""
    device = rs.software_device()
    device.register_info(rs.camera_info.name, "in software")
    device.register_info(rs.camera_info.serial_number, "42")
    sensor = device.add_sensor("Color")
    stream, lens = rs.video_stream(), rs.intrinsics()
    lens.width, lens.height, lens.fx, lens.fy = WIDTH, HEIGHT, 60.0, 60.0
    lens.ppx, lens.ppy, lens.model = WIDTH / 2, HEIGHT / 2, rs.distortion.none
    stream.type, stream.index, stream.uid, stream.fmt = rs.stream.color, 0, 1, rs.format.rgb8
    stream.width, stream.height, stream.fps, stream.bpp = WIDTH, HEIGHT, FPS, 3
    stream.intrinsics = lens
    return device, sensor, sensor.add_video_stream(stream)


def picture(number: int) -> np.ndarray:
    """Red on the left, green growing from frame to frame."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2, 0] = 255
    image[..., 1] = 8 * number
    return image


def recorded(path: Path, pause: float = 0.0) -> Path:
    """Ten frames as the maker's recorder keeps them, with a pause (s) after five."""
    device, source, profile = software_camera()
    recorder = rs.recorder(str(path), device)
    sensor = recorder.query_sensors()[0]
    sensor.open(profile)
    sensor.start(lambda frame: None)
    for number in range(10):
        frame = rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp = picture(number), 3 * WIDTH, 3
        frame.timestamp, frame.frame_number = 1000 * number / FPS, number
        frame.domain, frame.profile = rs.timestamp_domain.system_time, profile.as_video_stream_profile()
        source.on_video_frame(frame)
        time.sleep(1 / FPS + (pause if number == 4 else 0))
    sensor.stop()
    sensor.close()
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded(tmp_path / "camera.db3")


def opened(path: Path, clock: Clock | None = None) -> RealSenseCamera:
    camera = RealSenseCamera(SIZE, stream=(WIDTH, HEIGHT, FPS), recording=str(path), clock=clock)
    camera.open()
    return camera


def test_a_recording_plays_again_and_again_in_rgb(recording: Path) -> None:
    clock = Clock()
    before = clock.now()
    camera = opened(recording, clock)
    try:
        greens: list[int] = []
        deadline = time.monotonic() + 30
        while camera.latest().number < 15 and time.monotonic() < deadline:
            frame = camera.latest()
            assert frame.image.shape == camera.shape == (HEIGHT, WIDTH, 3) and frame.image.dtype == np.uint8
            assert before <= frame.time <= clock.now()
            green = int(frame.image[0, 0, 1])
            assert np.array_equal(frame.image, picture(green // 8)), "as it was recorded"
            greens.append(green)
            time.sleep(0.01)
        assert camera.latest().number >= 15, "it starts again after ten frames"
        assert len(set(greens)) > 3, "and moves"
    finally:
        camera.close()


def test_a_camera_that_pauses_is_read_again(tmp_path: Path) -> None:
    path = recorded(tmp_path / "paused.db3", pause=3.0)
    camera = RealSenseCamera(SIZE, stream=(WIDTH, HEIGHT, FPS), recording=str(path), wait=1.0)
    camera.open()
    try:
        deadline, oldest = time.monotonic() + 30, 0.0
        while camera.latest().number < 9 and time.monotonic() < deadline:
            oldest = max(oldest, Clock().now() - camera.latest().time)
            time.sleep(0.01)
        assert oldest > 2, "its frames grew older than one wait"
        assert camera.latest().number >= 9 and camera.problem is None
    finally:
        camera.close()


def test_closed_it_reads_no_more_and_opens_again(recording: Path) -> None:
    camera = opened(recording)
    camera.close()
    number = camera.latest().number
    time.sleep(0.2)
    assert camera.latest().number == number
    camera.open()
    camera.close()
    camera.close()


def test_a_device_or_recording_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.db3"
    said = refusal(RealSenseCamera(SIZE, recording=str(missing)).open)
    assert said == f"cannot open RealSense {missing}: no such file"
    said = refusal(RealSenseCamera(SIZE, serial="no such serial").open)
    assert said.startswith("cannot open RealSense no such serial: ")


def test_a_stream_that_was_not_recorded_is_told(recording: Path) -> None:
    camera = RealSenseCamera(SIZE, stream=(1280, 720, 30), recording=str(recording))
    assert refusal(camera.open).startswith(f"cannot open RealSense {recording}: ")
