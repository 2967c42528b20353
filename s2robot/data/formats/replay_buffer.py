"""The arrays of a Zarr v2 replay buffer, with or without our sidecar, as an episode needs them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import ZipStore

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.transfer import Notes, Sidecar
from s2robot.data.streams import LazyFrames

# What zarr, its stores and codecs raise on files that are cut short, altered, gone or of another kind.
_DAMAGE = (ValueError, RuntimeError, LookupError, TypeError, OSError, zipfile.BadZipFile)

_TIMES = ("time", "timestamp")
_UMI_ACTION = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
_OF_THE_WHOLE = ("_demo_start_pose", "_demo_end_pose")  # of UMI: nothing that a robot observes at a step


@dataclass(frozen=True)
class ReplayArrays:
    """Arrays over the steps of all episodes; what is not as we keep it is converted and noted.

    Attributes:
        source: the folder or zip.
        ends: int64 (E,), the step after the last of each episode.
        cameras: name -> (N, H, W, 3).
        parts: `proprio`, `action` and perhaps `action_applied` -> arrays (N, D) or (N,), side by side.
        times: (N,) s, None where there are none.
        notes: of what is lost.
    """

    source: Path
    ends: np.ndarray
    cameras: dict[str, zarr.Array]
    parts: dict[str, list[zarr.Array]]
    times: zarr.Array | None
    notes: Notes

    def frames(self, camera: str, steps: slice) -> LazyFrames:
        """uint8 (T, H, W, 3). Reading raises UserError for floats that are no whole numbers from 0 to 255."""
        shape = (steps.stop - steps.start, *self.cameras[camera].shape[1:])
        return LazyFrames(shape, lambda a, b: self._frames(camera, slice(steps.start + a, steps.start + b)))

    def _frames(self, camera: str, steps: slice) -> np.ndarray:
        frames = self._read(self.cameras[camera], steps)
        whole = frames.astype(np.uint8)
        if not np.array_equal(whole, frames):
            raise UserError(f"{self.source}: data/{camera} is not made of whole numbers from 0 to 255")
        return whole

    def series(self, name: str, steps: slice) -> np.ndarray:
        """float32 (T, D): the parts side by side."""
        columns = [self._read(part, steps).reshape(steps.stop - steps.start, -1) for part in self.parts[name]]
        values = np.concatenate(columns, axis=1)
        single = values.astype(np.float32)
        if not np.array_equal(single, values):
            self.notes.lose(f"{name}: {values.dtype} rounded to float32")
        return single

    def applied(self, steps: slice, action: np.ndarray) -> np.ndarray:
        """What the robot took; where the file does not say, the action."""
        return self.series("action_applied", steps) if "action_applied" in self.parts else action.copy()

    def time(self, steps: slice) -> np.ndarray | None:
        """float64 (T,) s."""
        return None if self.times is None else self._read(self.times, steps).astype(np.float64)

    def _read(self, array: zarr.Array, steps: slice) -> np.ndarray:
        with reading(self.source, array.path):
            return np.asarray(array[steps])


def open_replay_buffer(
    source: Path, rate: float | None, proprio: Sequence[str] | None
) -> tuple[ReplayArrays, Sidecar]:
    """Opens a folder or zip; the sidecar is the one found in it, or what the arrays say.

    Raises UserError where a group or array is missing or too short, the ends do not rise, a codec is unknown,
    or `rate` (Hz) is None and the file is not ours.
    """
    register_image_codecs()
    with reading(source, "its root"):
        root = _open(source)
        data = _group(root, "data", source)
        ends = _ends(_group(root, "meta", source), source)
        arrays = dict(data.arrays())
        plain = root.attrs.asdict().get("s2robot")
    for name, array in arrays.items():
        if not array.ndim or array.shape[0] < ends[-1]:
            raise UserError(
                f"{source}: data/{name} has shape {array.shape}, the last episode ends at {ends[-1]}"
            )
    if plain is not None:
        return _with_sidecar(
            source, arrays, ends, Sidecar.from_dict(plain, f"`s2robot` in the attributes of {source}")
        )
    return _without_sidecar(source, arrays, ends, rate, proprio)


@contextmanager
def reading(source: Path, part: str) -> Iterator[None]:
    """Turns what files that are damaged or of another kind raise into a UserError."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = ""
        if "imagecodecs" in reason:
            hint = ': its codec needs the extra, pip install "s2robot[imagecodecs]"'
        raise UserError(f"cannot read {part} of {source}: {reason}{hint}") from error


def register_image_codecs() -> None:
    """Makes the codecs of UMI's frames (JPEG XL and others) known to zarr, if imagecodecs is installed."""
    try:
        from imagecodecs.numcodecs import register_codecs  # type: ignore[import-not-found]
    except ImportError:
        return
    register_codecs(verbose=False)


def _open(source: Path) -> zarr.Group:
    if source.is_file():
        return zarr.open_group(ZipStore(source, mode="r"), mode="r", zarr_format=2)
    return zarr.open_group(source, mode="r", zarr_format=2)


def _group(root: zarr.Group, name: str, source: Path) -> zarr.Group:
    group = root.get(name)
    if not isinstance(group, zarr.Group):
        found = ", ".join(sorted(root.keys())) or "nothing"
        raise UserError(f"{source} has no group `{name}`: expected data and meta, found {found}")
    return group


def _ends(meta: zarr.Group, source: Path) -> np.ndarray:
    array = meta.get("episode_ends")
    if not isinstance(array, zarr.Array):
        raise UserError(f"{source} has no meta/episode_ends")
    ends = np.asarray(array[:])
    rising = ends.ndim == 1 and len(ends) and np.all(np.diff(ends, prepend=0) > 0)
    if not (rising and np.issubdtype(ends.dtype, np.integer)):
        raise UserError(
            f"{source}: meta/episode_ends is {ends.dtype} {ends[:5].tolist()}: expected rising ends"
        )
    return ends


def _with_sidecar(
    source: Path, arrays: dict[str, zarr.Array], ends: np.ndarray, sidecar: Sidecar
) -> tuple[ReplayArrays, Sidecar]:
    needed = [*sidecar.spec.cameras, "proprio", "action", "action_applied", "time"]
    for name in needed:
        if name not in arrays:
            raise UserError(f"{source}: data/{name} is missing")
    files = _files(source)
    for name in needed:
        absent = _chunks(arrays[name]) - files
        if absent:  # zarr would read zeros
            raise UserError(f"{source}: {min(absent)} is missing, and {len(absent) - 1} more of data/{name}")
    parts = {name: [arrays[name]] for name in ("proprio", "action", "action_applied")}
    cameras = {name: arrays[name] for name in sidecar.spec.cameras}
    notes = Notes(lost=[f"data/{name}" for name in sorted(set(arrays) - set(needed))])
    return ReplayArrays(source, ends, cameras, parts, arrays["time"], notes), sidecar


def _files(source: Path) -> set[str]:
    """The relative names of all files in a folder or zip."""
    if source.is_file():
        return set(zipfile.ZipFile(source).namelist())
    return {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}


def _chunks(array: zarr.Array) -> set[str]:
    """The names of the files that an array is made of."""
    counts = (-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
    return {f"{array.path}/{array.metadata.encode_chunk_key(at)}" for at in np.ndindex(*counts)}


def _without_sidecar(
    source: Path,
    arrays: dict[str, zarr.Array],
    ends: np.ndarray,
    rate: float | None,
    proprio: Sequence[str] | None,
) -> tuple[ReplayArrays, Sidecar]:
    if rate is None:
        raise UserError(
            f"{source} does not say how many steps a second it was recorded with: give rate=10 (Hz)"
        )
    cameras = {name: array for name, array in arrays.items() if array.ndim == 4 and array.shape[3] == 3}
    series = {name: array for name, array in arrays.items() if array.ndim <= 2}
    names = _parts(series, proprio, source)
    time = next((name for name in _TIMES if name in series and series[name].ndim == 1), None)
    held = {*cameras, *(name for members in names.values() for name in members), time}
    notes = Notes(lost=[f"data/{name} {arrays[name].shape}" for name in sorted(set(arrays) - held)])
    if time is None:
        notes.lost.append("measured times: the file has none, those here are step / rate")
    if names["action"] != ["action"]:
        notes.lost.append(
            f"action: the file has none, UMI takes {', '.join(names['action'])} of the same step"
        )
    if "action_applied" not in names:
        notes.lost.append("action_applied: the file does not say, taken to be the action")
    spec = RobotSpec(
        cameras={name: (array.shape[1], array.shape[2], 3) for name, array in cameras.items()},
        proprio=_labels(names["proprio"], series),
        action=_labels(names["action"], series),
        action_space="unknown",
        rate=float(rate),
    )
    parts = {part: [series[name] for name in members] for part, members in names.items()}
    buffer = ReplayArrays(source, ends, cameras, parts, None if time is None else series[time], notes)
    return buffer, Sidecar(spec, {}, [(None, {})] * len(ends))


def _parts(
    series: dict[str, zarr.Array], proprio: Sequence[str] | None, source: Path
) -> dict[str, list[str]]:
    """`proprio`, `action` and, where there is one, `action_applied` -> the names of their arrays."""
    action = ["action"] if "action" in series else _umi_pose(series)
    if not action:
        found = ", ".join(sorted(series)) or "none"
        raise UserError(f"{source} has no data/action; its arrays of one or two dimensions: {found}")
    free = sorted(set(series) - {"action", "action_applied", *_TIMES})
    for name in proprio or ():
        if name not in free:
            raise unknown("array for proprio", name, free)
    state = [name for name in free if not name.endswith(_OF_THE_WHOLE)] if proprio is None else list(proprio)
    if not state:
        raise UserError(f"{source} has no array for proprio beside data/action")
    applied = {"action_applied": ["action_applied"]} if "action_applied" in series else {}
    return {"proprio": state, "action": action, **applied}


def _umi_pose(series: dict[str, zarr.Array]) -> list[str]:
    """The arrays that UMI's sampler takes for the action where a file has none, in its order."""
    robots = sorted(
        {match[1] for name in series if (match := re.fullmatch(r"robot(\d+)_eef_pos", name))}, key=int
    )
    names = [f"robot{robot}_{part}" for robot in robots for part in _UMI_ACTION]
    return [name for name in names if name in series]


def _labels(names: list[str], arrays: dict[str, zarr.Array]) -> tuple[str, ...]:
    """One name for each column: `state[0]`, `state[1]`, ..."""
    labels: list[str] = []
    for name in names:
        array = arrays[name]
        labels += [name] if array.ndim == 1 else [f"{name}[{i}]" for i in range(array.shape[1])]
    return tuple(labels)
