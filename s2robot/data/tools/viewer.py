"""Episodes as a recording for the viewer of rerun.io: frames, actions and proprioception on one time line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.durable import disk_errors
from s2robot.data.reader import Damaged
from s2robot.data.store import DemoStore, EpisodeReader
from s2robot.utils.atomic_io import replacing
from s2robot.utils.progress import Progress

_QUALITY = 90  # of JPEG
_MAGIC = b"RRF"  # with which an .rrd file begins


def check_writable(path: Path) -> None:
    """Raises UserError where the package `rerun` is missing, or the path holds a file of another kind."""
    _rerun()
    if path.exists() and not _is_recording(path):
        raise UserError(f"{path} is no recording of rerun, so it is not replaced: give another out=")


def write_rrd(store: DemoStore, ids: Sequence[str], path: Path) -> Path:
    """Writes the episodes as `ID/images/CAMERA`, `ID/action`, ... into one .rrd file; returns its path.

    An episode that is damaged is left out. Raises UserError as `check_writable`.
    """
    check_writable(path)
    rerun = _rerun()
    recording = rerun.RecordingStream("s2robot_demos")
    with disk_errors(f"write {path}"), replacing(path) as staging:
        recording.save(staging)
        for episode_id in Progress(ids, desc="rerun", unit="demo"):
            with suppress(Damaged):
                _log(rerun, recording, store.episode(episode_id), store.spec)
        recording.disconnect()
    return path


def _rerun() -> Any:
    """The package, which is an extra."""
    try:
        import rerun  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError('rerun=true needs the viewer\'s package: pip install "s2robot[rerun]"') from None
    return rerun


def _is_recording(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _log(rerun: Any, recording: Any, reader: EpisodeReader, spec: RobotSpec) -> None:
    """Logs one episode; all of it is read before."""
    frames = {camera: reader.images(camera) for camera in spec.cameras}
    time = reader.time - reader.time[0]
    arrays = {
        "action": (reader.action, spec.action),
        "action_applied": (reader.action_applied, spec.action),
        "proprio": (reader.proprio, spec.proprio),
    }
    for name, (_, labels) in arrays.items():
        recording.log(f"{reader.id}/{name}", rerun.SeriesLines(names=list(labels)), static=True)
    for step in range(reader.length):
        recording.set_time("step", sequence=step)
        recording.set_time("seconds", duration=float(time[step]))
        for name, (array, _) in arrays.items():
            recording.log(f"{reader.id}/{name}", rerun.Scalars(array[step]))
        for camera, images in frames.items():
            picture = rerun.Image(images[step]).compress(jpeg_quality=_QUALITY)
            recording.log(f"{reader.id}/images/{camera}", picture)
