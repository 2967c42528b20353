"""HDF5 of robosuite, robomimic and LIBERO: stored images where there are some, else rendered states.

data/demo_<n>/actions         (T, Da), in the units of the controller
data/demo_<n>/obs/<camera>_image or <camera>_rgb, obs/<others>: what was observed before each action
data/demo_<n>/states          (T, 1 + nq + nv): time, qpos and qvel of MuJoCo before each action
data/demo_<n> model_file      the MuJoCo model of this demo, as XML
data/demo_<n>/rewards, dones  (T,)
data  env_args (robomimic) or env, env_info (robosuite), problem_info (LIBERO): how the environment was made
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from s2robot.config.options import Count, Positive
from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.formats.damage import reading
from s2robot.data.formats.hdf5_check import check_hdf5
from s2robot.data.formats.robomimic_frames import Rendered, Stored
from s2robot.data.formats.transfer import Incoming, IncomingEpisode, Notes, nominal_time
from s2robot.data.store import Episode
from s2robot.data.streams import Frames

_OSC_POSE = (
    *(f"d{axis} [controller units]" for axis in "xyz"),
    *(f"rotation {axis} [controller units]" for axis in "xyz"),
    "gripper [-1 open, 1 close]",
)


@dataclass(frozen=True)
class RobomimicOptions:
    """Of an import.

    Attributes:
        cameras: names of stored images, or of the model's cameras, which are rendered; none: no frames.
        image_size: side of the square frames that are rendered (px).
        rate: control steps a second (Hz), where the file does not say.
        proprio: the stored observations that make up the proprioception, see `select_columns`.
        flip: turn stored images upside down (files that keep them as OpenGL does, LIBERO's among them).
    """

    cameras: tuple[str, ...] | None = None
    image_size: Count | None = None
    rate: Positive | None = None
    proprio: tuple[str, ...] | None = None
    flip: bool = False


class Observations(Protocol):
    """Where the frames and the proprioception of the demos come from."""

    @property
    def cameras(self) -> Mapping[str, tuple[int, int, int]]: ...

    @property
    def proprio(self) -> tuple[str, ...]: ...

    @property
    def used(self) -> Set[str]:
        """The names of what is taken of a demo."""
        ...

    def load(self, demo: Any, name: str) -> tuple[dict[str, Frames], np.ndarray]:
        """Frames and proprio float32 (T, Dp) of a demo. Raises UserError where it lacks some."""
        ...

    def close(self) -> None: ...


class Robomimic:
    """HDF5 of robosuite, robomimic and LIBERO; frames that are not stored are rendered from states."""

    def read(self, source: Path, options: RobomimicOptions) -> Incoming:
        return read(source, options)


def read(source: Path, options: RobomimicOptions) -> Incoming:
    """What a file holds; frames are read or rendered as the episodes are taken.

    Raises:
        UserError: no h5py, no such file, no demos in it, neither observations nor a model that can be loaded,
            an unknown camera, no rate, a file on which HDF5's library crashes or hangs.
    """
    check_hdf5(source)
    with _opened(source) as file:
        demos = _demos(file, source)
        data = file["data"]
        arguments = _env_arguments(data.attrs, source)
        first = data[demos[0]]
        _check_actions(first, demos[0])
        notes = Notes(kept=["attributes of `data` in the store's, under `robosuite`"])
        observations = _observations(first, f"{demos[0]} of {source}", arguments, options, notes)
        spec = RobotSpec(
            cameras=observations.cameras,
            proprio=observations.proprio,
            action=_action_names(arguments, first["actions"].shape[1]),
            grippers=_grippers(arguments, first["actions"].shape[1]),
            action_space=_controller(arguments).lower() or "unknown",
            rate=_rate(first, arguments, source, options.rate),
        )
        notes.lost.append("action_applied: the file does not say, taken to be the action")
        notes.lost += _left_out(file, demos, observations.used)
        attributes = {"robosuite": {name: _plain(value) for name, value in data.attrs.items()}}
        instruction = _instruction(attributes["robosuite"])
    episodes = _episodes(source, demos, observations, spec, instruction, notes)
    return Incoming(spec, attributes, len(demos), episodes, notes)


def _observations(
    demo: Any, where: str, arguments: dict[str, Any], options: RobomimicOptions, notes: Notes
) -> Observations:
    """Stored ones where the cameras that are wanted are stored, or nothing can be rendered; else rendered."""
    stored = Stored.of(demo, options.proprio, options.flip)
    can_render = "states" in demo and "model_file" in demo.attrs
    wanted = options.cameras
    if stored is not None and (stored.has(wanted) or options.proprio is not None or not can_render):
        if options.image_size is not None:
            raise UserError(f"image_size={options.image_size}: the frames are stored, at a size of their own")
        return stored.select(wanted, notes)
    if not can_render:
        lacking = [n for n in ("obs", "states") if n not in demo]
        lacking += ["model_file"] * ("model_file" not in demo.attrs)
        raise UserError(
            f"{where} lacks {', '.join(lacking)}: it has neither observations nor what renders them"
        )
    if options.proprio is not None:
        raise UserError(
            f"proprio=[{','.join(options.proprio)}]: {where} has no stored observations to choose of"
        )
    asked = arguments.get("camera_names") or []
    return Rendered.of(
        demo, where, wanted, [asked] if isinstance(asked, str) else asked, options.image_size, notes
    )


def _episodes(
    source: Path,
    demos: list[str],
    observations: Observations,
    spec: RobotSpec,
    instruction: str | None,
    notes: Notes,
) -> Iterator[IncomingEpisode]:
    said = {} if instruction is None else {"instruction": instruction}
    with _opened(source) as file:
        for name in demos:
            load = partial(
                _episode, file["data"][name], f"{name} of {source}", observations, spec, said, notes
            )
            yield IncomingEpisode(name, load, name)
    observations.close()


def _episode(
    demo: Any,
    where: str,
    observations: Observations,
    spec: RobotSpec,
    attributes: dict[str, Any],
    notes: Notes,
) -> Episode:
    with reading(where):
        _check_actions(demo, where)
        actions = demo["actions"][:]
        images, proprio = observations.load(demo, where)
        success, times = _success(demo), _times(demo, len(actions), spec.rate)
    action = actions.astype(np.float32)
    if not np.array_equal(action, actions, equal_nan=True):
        notes.lose("actions: float64 rounded to float32")
    return Episode(
        images=images,
        proprio=proprio,
        action=action,
        action_applied=action.copy(),
        time=times,
        attributes=attributes if success is None else {**attributes, "success": success},
    )


def _check_actions(demo: Any, where: str) -> None:
    if "actions" not in demo or demo["actions"].ndim != 2:
        raise UserError(f"{where} has no actions (T, Da); it has {', '.join(demo) or 'nothing'}")


def _times(demo: Any, steps: int, rate: float) -> np.ndarray:
    """By the simulator's clock where there is one."""
    if "states" in demo and _clock_rate(demo) is not None and len(demo["states"]) == steps:
        return demo["states"][:, 0].astype(np.float64)
    return nominal_time(steps, rate)


def _success(demo: Any) -> bool | None:
    """True where the demo says so, None where it does not.

    A reward of 1 among zeros says it, and so does `done` where no such rewards contradict. Dense rewards say
    nothing, and a demo without any may have been kept for another reason.
    """
    rewards = np.asarray(demo["rewards"][:]) if "rewards" in demo else np.empty(0)
    sparse = rewards.size > 0 and bool(np.isin(rewards, (0, 1)).all())
    if sparse:
        return True if rewards.any() else None
    return True if "dones" in demo and np.any(demo["dones"][:]) else None


@contextmanager
def _opened(source: Path) -> Iterator[Any]:
    try:
        import h5py  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError('reading HDF5 needs an extra: pip install "s2robot[hdf5]"') from error
    with reading(str(source)), h5py.File(source, "r") as file:
        yield file


def _demos(file: Any, source: Path) -> list[str]:
    """The names of the demos in the order of their numbers."""
    names = list(file.get("data", {}))
    demos = sorted((n for n in names if re.fullmatch(r"demo_\d+", n)), key=lambda n: int(n.split("_")[1]))
    if not demos:
        raise UserError(
            f"{source} holds no demos: expected data/demo_1, ..., found {', '.join(file) or 'nothing'}"
        )
    return demos


def _env_arguments(attributes: Any, source: Path) -> dict[str, Any]:
    """What the environment was made with, empty where the file does not say."""
    text = attributes.get("env_args", attributes.get("env_info", "{}"))
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UserError(f"{source}: its attributes env_args or env_info are no JSON: {error}") from error
    return arguments.get("env_kwargs", arguments) if isinstance(arguments, dict) else {}


def _instruction(attributes: Mapping[str, Any]) -> str | None:
    """LIBERO's text of what the robot does."""
    problem = attributes.get("problem_info")
    text = problem.get("language_instruction") if isinstance(problem, dict) else None
    text = "".join(text) if isinstance(text, list) else text
    return text.strip('"') if isinstance(text, str) else None


def _controller(arguments: dict[str, Any]) -> str:
    """The type of the (right) arm's controller, empty where the file does not say."""
    config = arguments.get("controller_configs") or {}
    config = config[0] if isinstance(config, list) else config
    arms = config.get("body_parts", {})
    return str(arms.get("right", config).get("type", ""))


def _is_osc_pose(arguments: dict[str, Any], size: int) -> bool:
    """Whether the actions are those of one arm under OSC_POSE, with a gripper."""
    return _controller(arguments) == "OSC_POSE" and size == len(_OSC_POSE)


def _action_names(arguments: dict[str, Any], size: int) -> tuple[str, ...]:
    if _is_osc_pose(arguments, size):
        return _OSC_POSE
    return tuple(f"action[{i}]" for i in range(size))


def _grippers(arguments: dict[str, Any], size: int) -> tuple[GripperSpec, ...]:
    return (GripperSpec(size - 1, open=-1.0, closed=1.0),) if _is_osc_pose(arguments, size) else ()


def _clock_rate(demo: Any) -> float | None:
    """Control steps a second by the simulator's clock; None where it does not run."""
    times = demo["states"][:, 0] if "states" in demo and demo["states"].ndim == 2 else np.empty(0)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return round(1 / step, 3) if step > 0 and (np.diff(times) >= 0).all() else None


def _rate(demo: Any, arguments: dict[str, Any], source: Path, given: float | None) -> float:
    """Control steps a second (Hz): by the simulator's clock, else as the file says, else as the user does."""
    rate = _clock_rate(demo) or arguments.get("control_freq") or given
    if not isinstance(rate, int | float) or not rate > 0:
        raise UserError(
            f"{source} does not say how many steps a second it was recorded with: give rate=20 (Hz)"
        )
    return float(rate)


def _left_out(file: Any, demos: list[str], used: Set[str]) -> list[str]:
    """What is in the file and not in the store."""
    names: set[str] = set()
    for demo in (file["data"][name] for name in demos):
        names |= {n for n in demo if n != "obs"} | {f"obs/{n}" for n in demo.get("obs", {})}
    left = sorted(names - used - {"actions"}) + sorted(set(file) - {"data"})
    return [f"{name} of each demo" if name in names else name for name in left]


def _plain(value: Any) -> Any:
    """An HDF5 attribute as JSON knows it; text that is JSON itself is unpacked."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, bytes):
        plain = plain.decode(errors="replace")
    try:
        return json.loads(plain) if isinstance(plain, str) else plain
    except ValueError:
        return plain
