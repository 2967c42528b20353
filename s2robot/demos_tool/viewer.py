"""Episodes as a recording for the viewer of rerun.io: frames, actions and proprioception on one time line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s2robot.data.durable import disk_errors
from s2robot.data.store import DemoStore, EpisodeReader
from s2robot.errors import UserError
from s2robot.spec import RobotSpec

_QUALITY = 90  # of JPEG


def require_rerun() -> Any:
    """The package `rerun`. Raises UserError, naming the extra, where it is not installed."""
    try:
        import rerun
    except ImportError:
        raise UserError('rerun=true needs the viewer\'s package: pip install "s2robot[rerun]"') from None
    return rerun


def write_rrd(store: DemoStore, ids: Sequence[str], path: Path) -> Path:
    """Writes the episodes as `ID/images/CAMERA`, `ID/action`, ... into one .rrd file; returns its path.

    Raises UserError where an episode cannot be read, or where `path` is a file of another kind.
    """
    rerun = require_rerun()
    if path.exists() and path.read_bytes()[:3] != b"RRF":
        raise UserError(f"{path} is no recording of rerun, so it is not replaced: give another out=")
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    recording = rerun.RecordingStream("s2robot_demos")
    try:
        with disk_errors(f"write {path}"):
            recording.save(staging)
            for episode_id in tqdm(ids, desc="rerun", unit="demo"):
                _log(rerun, recording, store.episode(episode_id), store.spec)
            recording.disconnect()
            os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
    return path


def _log(rerun: Any, recording: Any, reader: EpisodeReader, spec: RobotSpec) -> None:
    arrays = {
        "action": (reader.action, spec.action),
        "action_applied": (reader.action_applied, spec.action),
        "proprio": (reader.proprio, spec.proprio),
    }
    for name, (_, labels) in arrays.items():
        recording.log(f"{reader.id}/{name}", rerun.SeriesLines(names=list(labels)), static=True)
    frames = {camera: reader.images(camera) for camera in spec.cameras}
    time = reader.time - reader.time[0]
    for step in range(reader.length):
        recording.set_time("step", sequence=step)
        recording.set_time("seconds", duration=float(time[step]))
        for name, (array, _) in arrays.items():
            recording.log(f"{reader.id}/{name}", rerun.Scalars(array[step]))
        for camera, images in frames.items():
            picture = rerun.Image(images[step]).compress(jpeg_quality=_QUALITY)
            recording.log(f"{reader.id}/images/{camera}", picture)
