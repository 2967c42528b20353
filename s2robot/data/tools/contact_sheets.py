"""Contact sheets: an episode's frames in one picture."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from s2robot.core.spec import RobotSpec
from s2robot.data.store import EpisodeReader

FRAMES = 8  # of each camera, the first and the last among them
_HEIGHT = 96  # px of a frame
_GAP = 2  # px between frames
_QUALITY = 80  # of JPEG


def contact_sheet(reader: EpisodeReader, spec: RobotSpec) -> bytes:
    """A JPEG file: one row a camera, in each `FRAMES` frames evenly spread over the episode."""
    steps = np.linspace(0, reader.length - 1, FRAMES).round().astype(int)
    rows = [[_small(reader.images(camera, int(step))) for step in steps] for camera in spec.cameras]
    width = max(sum(frame.width + _GAP for frame in row) for row in rows) - _GAP
    sheet = Image.new("RGB", (width, len(rows) * (_HEIGHT + _GAP) - _GAP), "white")
    for number, row in enumerate(rows):
        left = 0
        for frame in row:
            sheet.paste(frame, (left, number * (_HEIGHT + _GAP)))
            left += frame.width + _GAP
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def data_url(jpeg: bytes) -> str:
    """The file itself as a `data:` URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _small(frame: np.ndarray) -> Image.Image:
    picture = Image.fromarray(frame)
    width = max(1, round(picture.width * _HEIGHT / picture.height))
    filter = Image.Resampling.LANCZOS if picture.height > _HEIGHT else Image.Resampling.NEAREST
    return picture.resize((width, _HEIGHT), filter)
