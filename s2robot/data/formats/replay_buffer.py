"""The arrays of a Zarr replay buffer (v2 or v3), with or without our sidecar, as an episode needs them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from s2robot.config.options import Positive
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.formats.columns import Columns, select_columns
from s2robot.data.formats.damage import reading
from s2robot.data.formats.pictures import PictureLayout
from s2robot.data.formats.transfer import Notes, Sidecar
from s2robot.data.formats.zarr_files import check_chunks, open_root, register_image_codecs
from s2robot.data.streams import LazyFrames

OURS = ("proprio", "action", "action_applied", "time")
"""The arrays beside the cameras' that an export writes."""

_TIMES = ("time", "timestamp")
_UMI_ACTION = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
_OF_THE_WHOLE = ("_demo_start_pose", "_demo_end_pose")  # of UMI: nothing that a robot observes at a step


@dataclass(frozen=True)
class ReplayOptions:
    """What an import says of a file.

    Attributes:
        rate: control steps a second (Hz), where the file has no sidecar.
        proprio: the columns that make up the proprioception, see `select_columns`; None: all arrays left.
        missing_as_zeros: chunks without a file are zeros, not lost.
    """

    rate: Positive | None = None
    proprio: tuple[str, ...] | None = None
    missing_as_zeros: bool = False


@dataclass(frozen=True)
class ReplayArrays:
    """Arrays over the steps of all episodes; what is not as we keep it is converted and noted.

    Attributes:
        source: the folder or zip.
        ends: int64 (E,), the step after the last of each episode.
        cameras: name -> array (N, ...) of pictures and how they lie in it.
        parts: `proprio`, `action` and perhaps `action_applied` -> columns, side by side.
        times: (N,) s, None where there are none.
        notes: of what is lost.
        ours: with our sidecar.
    """

    source: Path
    ends: np.ndarray
    cameras: Mapping[str, tuple[zarr.Array, PictureLayout]]
    parts: Mapping[str, list[Columns]]
    times: zarr.Array | None
    notes: Notes
    ours: bool = False

    def frames(self, camera: str, steps: slice) -> LazyFrames:
        """uint8 (T, H, W, 3). Reading raises UserError for what is damaged or no picture."""
        array, layout = self.cameras[camera]

        def read(start: int, stop: int) -> np.ndarray:
            part = self._read(array, slice(steps.start + start, steps.start + stop))
            return layout.convert(part, array.path)

        return LazyFrames((steps.stop - steps.start, *layout.shape), read)

    def series(self, name: str, steps: slice) -> np.ndarray:
        """float32 (T, D): the parts side by side."""
        columns = [part.take(self._read(part.array, steps)) for part in self.parts[name]]
        values = np.concatenate(columns, axis=1)
        single = values.astype(np.float32)
        if not np.array_equal(single, values, equal_nan=True):
            self.notes.lose(f"{name}: {values.dtype} rounded to float32")
        return single

    def applied(self, steps: slice, action: np.ndarray) -> np.ndarray:
        """What the robot took; where the file does not say, the action."""
        return self.series("action_applied", steps) if "action_applied" in self.parts else action.copy()

    def time(self, steps: slice) -> np.ndarray | None:
        """float64 (T,) s."""
        return None if self.times is None else self._read(self.times, steps).astype(np.float64)

    def _read(self, array: zarr.Array, steps: slice) -> np.ndarray:
        with reading(f"{array.path} of {self.source}"):
            return np.asarray(array[steps])


def open_replay_buffer(source: Path, options: ReplayOptions) -> tuple[ReplayArrays, Sidecar]:
    """Opens a folder or zip; the sidecar is the one found in it, or what the arrays say.

    Raises UserError where a group, an array or a chunk's file is missing, an array is too short, the ends do
    not rise, a codec is unknown, or the rate is not known.
    """
    register_image_codecs()
    with reading(f"its root of {source}"):
        root = open_root(source)
        data = _group(root, "data", source)
        ends = _ends(_group(root, "meta", source), source)
        arrays = dict(data.arrays())
        plain = root.attrs.asdict().get("s2robot")
    for name, array in arrays.items():
        if not array.ndim or array.shape[0] < ends[-1]:
            raise UserError(
                f"{source}: data/{name} has shape {array.shape}, the last episode ends at {ends[-1]}"
            )
    if plain is None:
        found, sidecar = _without_sidecar(source, arrays, ends, options)
    else:
        sidecar = Sidecar.from_dict(plain, f"`s2robot` in the attributes of {source}")
        found, sidecar = _with_sidecar(source, arrays, ends, sidecar, options.proprio)
    if plain is not None or not options.missing_as_zeros:
        used = [array for array, _ in found.cameras.values()]
        used += [part.array for parts in found.parts.values() for part in parts]
        check_chunks(source, [*used, *([] if found.times is None else [found.times])], ours=plain is not None)
    return found, sidecar


def camera_array(camera: str) -> str:
    """The name of a camera's array: a `/` would make a group of it."""
    return camera.replace("%", "%25").replace("/", "%2F")


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
    check_chunks(source, [array], ours=False)
    ends = np.asarray(array[:])
    rising = ends.ndim == 1 and len(ends) and np.all(np.diff(ends, prepend=0) > 0)
    if not (rising and np.issubdtype(ends.dtype, np.integer)):
        raise UserError(
            f"{source}: meta/episode_ends is {ends.dtype} {ends[:5].tolist()}: expected rising ends"
        )
    return ends


def _with_sidecar(
    source: Path,
    arrays: dict[str, zarr.Array],
    ends: np.ndarray,
    sidecar: Sidecar,
    proprio: Sequence[str] | None,
) -> tuple[ReplayArrays, Sidecar]:
    spec = sidecar.spec
    names = {camera: camera_array(camera) for camera in spec.cameras}
    for name in (*names.values(), *OURS):
        if name not in arrays:
            raise UserError(f"{source}: data/{name} is missing")
    parts = {name: [Columns.whole(name, arrays[name])] for name in ("proprio", "action", "action_applied")}
    if proprio is not None:
        parts["proprio"] = select_columns(proprio, {"proprio": arrays["proprio"]})
        labels = tuple(spec.proprio[i] for part in parts["proprio"] for i in part.indices)
        sidecar = replace(sidecar, spec=replace(spec, proprio=labels))
    cameras = {
        camera: (arrays[names[camera]], PictureLayout(*spec.cameras[camera])) for camera in spec.cameras
    }
    left = set(arrays) - {*names.values(), *OURS}
    notes = Notes(lost=[f"data/{name}" for name in sorted(left)])
    return ReplayArrays(source, ends, cameras, parts, arrays["time"], notes, ours=True), sidecar


def _without_sidecar(
    source: Path, arrays: dict[str, zarr.Array], ends: np.ndarray, options: ReplayOptions
) -> tuple[ReplayArrays, Sidecar]:
    if options.rate is None:
        raise UserError(
            f"{source} does not say how many steps a second it was recorded with: give rate=10 (Hz)"
        )
    cameras = _cameras(source, arrays)
    series = {name: array for name, array in arrays.items() if array.ndim <= 2 and name not in cameras}
    parts = _parts(series, options.proprio, source)
    time = next((name for name in _TIMES if name in series and series[name].ndim == 1), None)
    used = {*cameras, *(part.name for members in parts.values() for part in members), time}
    labels = {name: tuple(label for m in members for label in m.labels()) for name, members in parts.items()}
    spec = RobotSpec(
        cameras={name: layout.shape for name, (_, layout) in cameras.items()},
        proprio=labels["proprio"],
        action=labels["action"],
        action_space="unknown",
        rate=float(options.rate),
    )
    notes = _notes(arrays, used, cameras, parts, options)
    if time is None:
        notes.lost.append("measured times: the file has none, those here are step / rate")
    buffer = ReplayArrays(source, ends, cameras, parts, None if time is None else series[time], notes)
    return buffer, Sidecar(spec, {}, [(None, {})] * len(ends))


def _cameras(source: Path, arrays: Mapping[str, zarr.Array]) -> dict[str, tuple[zarr.Array, PictureLayout]]:
    cameras = {}
    for name, array in arrays.items():

        def sample(array: zarr.Array = array) -> np.ndarray:
            steps = np.unique(np.linspace(0, array.shape[0] - 1, 5).astype(int))
            with reading(f"{array.path} of {source}"):
                return np.stack([np.asarray(array[int(step)]) for step in steps])

        if layout := PictureLayout.of(array.shape, array.dtype, sample):
            cameras[name] = array, layout
    return cameras


def _notes(
    arrays: Mapping[str, zarr.Array],
    used: set[str | None],
    cameras: Mapping[str, tuple[zarr.Array, PictureLayout]],
    parts: Mapping[str, list[Columns]],
    options: ReplayOptions,
) -> Notes:
    notes = Notes(lost=[f"data/{name} {arrays[name].shape}" for name in sorted(set(arrays) - used)])
    for name, (_, layout) in cameras.items():
        notes.kept += [f"data/{name}: {change}" for change in layout.changes()]
    if not cameras:
        notes.lost.append("cameras: no array holds pictures")
    if options.proprio is None:
        state = ", ".join(part.name for part in parts["proprio"])
        notes.kept.append(f"proprio: all arrays that are left: {state}; proprio=[NAME[:2]] would choose")
    action = [part.name for part in parts["action"]]
    if action != ["action"]:
        notes.lost.append(f"action: the file has none, UMI takes {', '.join(action)} of the same step")
    if "action_applied" not in parts:
        notes.lost.append("action_applied: the file does not say, taken to be the action")
    return notes


def _parts(
    series: dict[str, zarr.Array], proprio: Sequence[str] | None, source: Path
) -> dict[str, list[Columns]]:
    """`proprio`, `action` and, where there is one, `action_applied` -> their columns."""
    action = ["action"] if "action" in series else _umi_pose(series)
    if not action:
        found = ", ".join(sorted(series)) or "none"
        raise UserError(f"{source} has no data/action; its arrays of one or two dimensions: {found}")
    free = {n: series[n] for n in sorted(set(series) - {"action", "action_applied", *_TIMES})}
    if proprio is None:
        state = [Columns.whole(n, array) for n, array in free.items() if not n.endswith(_OF_THE_WHOLE)]
    else:
        state = select_columns(proprio, free)
    if not state:
        raise UserError(f"{source} has no array for proprio beside data/action")
    whole = {
        "action": action,
        **({"action_applied": ["action_applied"]} if "action_applied" in series else {}),
    }
    parts = {name: [Columns.whole(n, series[n]) for n in members] for name, members in whole.items()}
    return {"proprio": state, **parts}


def _umi_pose(series: Mapping[str, Any]) -> list[str]:
    """The arrays that UMI's sampler takes for the action where a file has none, in its order."""
    robots = sorted(
        {match[1] for name in series if (match := re.fullmatch(r"robot(\d+)_eef_pos", name))}, key=int
    )
    names = [f"robot{robot}_{part}" for robot in robots for part in _UMI_ACTION]
    return [name for name in names if name in series]
