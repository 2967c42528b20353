"""Long episodes: frames are read and written part by part."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mistakes import refusal

from s2robot.core.spec import RobotSpec
from s2robot.data.episode import Episode, write_episode
from s2robot.data.jpeg import Jpeg
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.data.streams import FrameSpool, LazyFrames, blocks

SPEC = RobotSpec({"front": (240, 320, 3)}, ("x",), ("dx",), "unknown", 30.0)
STEPS = 1800  # a minute at 30 Hz: 415 MB of frames


def made_frames(start: int, stop: int) -> np.ndarray:
    """Each frame is of one grey, by its number."""
    grey = (np.arange(start, stop) % 251).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (stop - start, 240, 320, 3)).copy()


def peak_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def episode(steps: int = STEPS) -> Episode:
    column = np.zeros((steps, 1), np.float32)
    frames = LazyFrames((steps, 240, 320, 3), made_frames)
    return Episode({"front": frames}, column, column, column, np.arange(steps) / 30)


@pytest.mark.parametrize("codec", [None, Jpeg(95)])
def test_a_long_episode_is_written_and_read_part_by_part(tmp_path: Path, codec: Jpeg | None) -> None:
    steps = STEPS if codec is None else 300
    store = DemoStore.create(tmp_path / "demos", SPEC)
    (store.path / "long").mkdir()
    assert peak_mb(lambda: write_episode(store.path / "long", episode(steps), codec)) < 100
    reader = store.episode("long")
    assert peak_mb(lambda: sum(len(block) for _, block in blocks(reader.frames("front")))) < 100
    last = reader.images("front", slice(steps - 5, steps))
    np.testing.assert_allclose(last, made_frames(steps - 5, steps), atol=0 if codec is None else 2)


def test_a_recorder_keeps_a_long_rollout_in_a_file() -> None:
    recorder = Recorder()

    def record() -> None:
        for step in range(STEPS):
            image = made_frames(step, step + 1)[0]
            observation = {"images": {"front": image}, "proprio": np.zeros(1, np.float32)}
            if step == 0:
                recorder.on_reset(observation, {"time": 0.0})
            recorder.on_step(observation, np.zeros(1, np.float32), {"time": (step + 1) / 30})

    assert peak_mb(record) < 200
    assert recorder.steps == STEPS
    frames = recorder.episode({}).images["front"]
    assert frames.shape == (STEPS, 240, 320, 3)
    for step in (0, 500, 600, STEPS - 2):  # in memory, at the border, in the file
        np.testing.assert_array_equal(frames[step : step + 2], made_frames(step, step + 2))


def test_a_spool_gives_back_what_it_took_wherever_it_lies() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    spool = FrameSpool(memory_bytes=7 * frames[0].nbytes)
    for frame in frames:
        spool.append(frame)
    kept = spool.frames()
    for start in range(20):
        np.testing.assert_array_equal(spool[start], frames[start])
        for stop in range(start + 1, 21):
            np.testing.assert_array_equal(kept[start:stop], frames[start:stop])


def test_a_source_that_ends_early_is_refused(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    short = episode(100)
    short.images = {"front": LazyFrames((100, 240, 320, 3), lambda a, b: made_frames(a, min(b, 90)))}
    assert "are uint8 (22, 240, 320, 3), expected uint8 (32, " in refusal(lambda: store.append(short))
    assert store.ids() == []
