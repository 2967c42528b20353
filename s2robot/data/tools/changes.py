"""Where a camera's frames change: what `encoder.crop` may be chosen by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from s2robot.data.store import EpisodeReader
from s2robot.data.tools.contact_sheets import FRAMES

_SIDE = 112  # px: the longer side of the maps
_SHARE = 0.1  # of the largest change, above the usual one: less is noise
_MARGIN = 0.02  # of the frame, on each side


def changes(episodes: Iterable[EpisodeReader], camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each pixel over `FRAMES` frames of each episode: float (h, w), 0 to 255.

    Raises Damaged for frames that cannot be read.
    """
    frames = [
        _grey(episode.images(camera, int(step)))
        for episode in episodes
        for step in np.linspace(0, episode.length - 1, FRAMES).round()
    ]
    return np.mean(frames, 0), np.std(frames, 0)


def changing_box(deviation: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest box that holds what changes, and a margin: left, top, right and bottom, as shares.

    All of a frame in which nothing changes.
    """
    usual, most = float(np.median(deviation)), float(deviation.max())
    rows, columns = np.nonzero(deviation >= usual + _SHARE * (most - usual))
    height, width = deviation.shape
    first = np.array([columns.min() / width, rows.min() / height]) - _MARGIN
    last = np.array([(columns.max() + 1) / width, (rows.max() + 1) / height]) + _MARGIN
    left, top, right, bottom = np.clip([*first, *last], 0, 1).round(2).tolist()
    return left, top, right, bottom


def _grey(frame: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(frame).convert("L")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)
