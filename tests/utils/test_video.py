"""Frames go into an H.264 file and come back much as they were."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2robot.core.errors import UserError
from s2robot.utils.video import encode_mp4, read_mp4


def film(length: int, height: int, width: int) -> np.ndarray:
    """A smooth picture that brightens frame by frame: uint8 (T, H, W, 3)."""
    t, y, x = np.mgrid[:length, :height, :width]
    return np.stack([40 + 8 * t, 60 + 100 * y // height, 60 + 100 * x // width], axis=-1).astype(np.uint8)


@settings(max_examples=15)
@given(st.integers(1, 20), st.integers(16, 70), st.integers(16, 70))
def test_frames_come_back_in_order_and_alike(length, height, width):
    frames = film(length, height, width)
    back = read_mp4(encode_mp4(frames, fps=10))
    assert back.dtype == np.uint8
    assert back.shape == (length, height + height % 2, width + width % 2, 3)
    error = np.abs(back[:, :height, :width].astype(int) - frames)
    assert error.mean() < 5
    assert np.all(np.diff(back[..., 0].mean(axis=(1, 2))) > 4)


@pytest.mark.parametrize("fps", [10, 12.5, 30000 / 1001])
def test_the_file_is_what_browsers_play(fps):
    data = encode_mp4(film(5, 32, 48), fps)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(fps).limit_denominator(1001)
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first: playing starts at once"


def test_an_odd_edge_is_repeated():
    frames = np.full((3, 17, 19, 3), 200, np.uint8)
    back = read_mp4(encode_mp4(frames, fps=10))
    assert back[:, 17:].min() > 180
    assert back[:, :, 19:].min() > 180


def test_a_video_is_small_repeatable_and_made_from_any_iterable(tmp_path):
    frames = film(60, 224, 224)
    data = encode_mp4(iter(frames), fps=10)
    assert len(data) < 60_000
    assert data == encode_mp4(frames, fps=10)
    path = tmp_path / "rollout.mp4"
    path.write_bytes(data)
    assert np.array_equal(read_mp4(path), read_mp4(data))


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        ([], 10, "no frames"),
        ([np.zeros((16, 16, 3), np.float32)], 10, r"frame 0 is float32 \(16, 16, 3\)"),
        ([np.zeros((16, 16), np.uint8)], 10, r"frame 0 is uint8 \(16, 16\): expected uint8 \(H, W, 3\)"),
        ([np.zeros((0, 16, 3), np.uint8)], 10, "frame 0"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], 10, "frame 1"),
        ([np.zeros((16, 16, 3), np.uint8)], 0, "fps=0"),
        ([np.zeros((16, 16, 3), np.uint8)], float("nan"), "fps=nan"),
    ],
)
def test_what_is_no_film_is_refused(frames, fps, message):
    with pytest.raises(UserError, match=message):
        encode_mp4(frames, fps)


def test_what_is_no_video_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"missing\.mp4: No such file"):
        read_mp4(tmp_path / "missing.mp4")
    with pytest.raises(UserError, match="5 bytes"):
        read_mp4(b"hello")
