"""One film an episode and camera, to be watched: `OUT/<episode>/<camera>.mp4`.

`OUT/s2robot.json` is the sidecar, with the measured times of the frames: a film has a constant rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2robot.data.formats.transfer import Notes, Outgoing
from s2robot.data.frame_error import FrameError
from s2robot.data.streams import blocks
from s2robot.utils.atomic_io import write_atomic, write_json
from s2robot.utils.video import encode_mp4, read_mp4

SIDECAR = "s2robot.json"
_COMPARED = 64  # frames of the first film of a camera


@dataclass(frozen=True)
class Mp4Options:
    """It has none."""


class Mp4:
    """One film (H.264) an episode and camera."""

    def write(self, outgoing: Outgoing, target: Path, options: Mp4Options) -> Notes:
        return write(outgoing, target)


def write(outgoing: Outgoing, target: Path) -> Notes:
    """Writes a folder of films (H.264), as many frames a second as the robot's steps."""
    sidecar = outgoing.sidecar().to_dict()
    errors: dict[str, FrameError] = {}
    for episode, meta in zip(outgoing.episodes, sidecar["episodes"], strict=True):
        meta["time"] = episode.time.tolist()
        for camera in outgoing.spec.cameras:
            frames = episode.frames(camera)
            film = encode_mp4((f for _, block in blocks(frames) for f in block), outgoing.spec.rate)
            write_atomic(target / episode.id / f"{camera}.mp4", film)
            if camera not in errors:
                first = frames[:_COMPARED]
                errors[camera] = FrameError.between(first, _uncrop(read_mp4(film, len(first)), first))
    write_json(target / SIDECAR, sidecar)
    return Notes(
        kept=[f"measured times, ids and attributes in {SIDECAR}"],
        lost=[
            "proprio, action and action_applied: a film holds none",
            *(f"frames of {camera}: H.264, {error}" for camera, error in errors.items()),
        ],
    )


def _uncrop(film: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Without the edge that makes odd sides even."""
    return film[:, : frames.shape[1], : frames.shape[2]]
