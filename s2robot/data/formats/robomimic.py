"""HDF5 as robosuite's collector and robomimic write it: states and actions, whose frames are rendered here.

data/demo_<n>/states    (T, 1 + nq + nv): time, qpos and qvel of MuJoCo before each action
data/demo_<n>/actions   (T, Da), in the units of the controller
data/demo_<n> model_file: the MuJoCo model of this demo, as XML
data  env_args (robomimic) or env, env_info (robosuite): how the environment was made
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2robot.config.options import Count
from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.formats.transfer import Incoming, IncomingEpisode, Notes
from s2robot.data.store import Episode

if TYPE_CHECKING:
    from s2robot.data.formats.rendering import Scene

_CAMERAS = ("agentview", "robot0_eye_in_hand")  # robomimic's usual two
_HELD = {"states", "actions"}
_OSC_POSE = (
    *(f"d{axis} [controller units]" for axis in "xyz"),
    *(f"rotation {axis} [controller units]" for axis in "xyz"),
    "gripper [-1 open, 1 close]",
)


@dataclass(frozen=True)
class RobomimicOptions:
    """As `read` takes them."""

    cameras: tuple[str, ...] | None = None
    image_size: Count = 448


class Robomimic:
    """HDF5 of robosuite and robomimic; frames are rendered from the states."""

    def read(self, source: Path, options: RobomimicOptions) -> Incoming:
        return read(source, cameras=options.cameras, image_size=options.image_size)


def read(source: Path, *, cameras: Sequence[str] | None, image_size: int) -> Incoming:
    """What a file holds; frames are rendered as the episodes are taken.

    Args:
        cameras: names of the model; default those the file names, else agentview and the first wrist.
        image_size: side of the square frames (px).

    Raises:
        UserError: no h5py, no such file, no demos in it, a model that cannot be loaded, an unknown camera.
    """
    with _opened(source) as file:
        demos = _demos(file, source)
        arguments = _env_arguments(file["data"].attrs, source)
        first = file["data"][demos[0]]
        scene = _scene(first, source, demos[0])
        chosen = list(cameras or _named(arguments, scene))
        spec = RobotSpec(
            cameras=dict.fromkeys(chosen, (image_size, image_size, 3)),
            proprio=scene.proprio_names(),
            action=_action_names(arguments, first["actions"].shape[1]),
            grippers=_grippers(arguments, first["actions"].shape[1]),
            action_space=_controller(arguments).lower() or "unknown",
            rate=_rate(first["states"][:, 0], source),
        )
        scene.check_cameras(chosen)
        notes = _losses(file, demos)
        attributes = {"robosuite": {name: _plain(value) for name, value in file["data"].attrs.items()}}
    episodes = _episodes(source, demos, spec, notes)
    return Incoming(spec, attributes, len(demos), episodes, notes)


def _episodes(source: Path, demos: list[str], spec: RobotSpec, notes: Notes) -> Iterator[IncomingEpisode]:
    scene, model = None, ""
    with _opened(source) as file:
        for name in demos:
            demo = file["data"][name]
            if scene is None or demo.attrs["model_file"] != model:
                if scene is not None:
                    scene.close()
                scene, model = _scene(demo, source, name), demo.attrs["model_file"]
                scene.open_renderer(spec)
            load = partial(_episode, demo, scene, spec, notes, f"{name} of {source}")
            yield IncomingEpisode(name, load, name)
    if scene is not None:
        scene.close()


def _episode(demo: Any, scene: Scene, spec: RobotSpec, notes: Notes, where: str) -> Episode:
    states, actions = demo["states"][:], demo["actions"][:]
    if len(states) != len(actions) or states.shape[1] != scene.state_size:
        raise UserError(
            f"{where}: states {states.shape} and actions {actions.shape} do not fit: expected as many "
            f"of both, and {scene.state_size} numbers a state"
        )
    if scene.proprio_names() != spec.proprio:
        raise UserError(f"{where} is of another robot than the first demo: import them apart")
    action = actions.astype(np.float32)
    if "actions: float64 rounded to float32" not in notes.lost and not np.array_equal(action, actions):
        notes.lost.append("actions: float64 rounded to float32")
    observations = [scene.observe(state) for state in states]
    return Episode(
        images={camera: np.stack([images[camera] for images, _ in observations]) for camera in spec.cameras},
        proprio=np.stack([proprio for _, proprio in observations]),
        action=action,
        action_applied=action.copy(),
        time=states[:, 0].astype(np.float64),
        attributes=_success(demo),
    )


def _success(demo: Any) -> dict[str, Any]:
    """robomimic says it by rewards; robosuite's collector keeps nothing but successes."""
    return {"success": bool(np.max(demo["rewards"][:]) > 0) if "rewards" in demo else True}


@contextmanager
def _opened(source: Path) -> Iterator[Any]:
    try:
        import h5py  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError('reading HDF5 needs an extra: pip install "s2robot[hdf5]"') from error
    try:
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        raise UserError(f"cannot read {source}: {error}") from error


def _demos(file: Any, source: Path) -> list[str]:
    """The names of the demos in the order of their numbers."""
    names = list(file.get("data", {}))
    demos = sorted((n for n in names if re.fullmatch(r"demo_\d+", n)), key=lambda n: int(n.split("_")[1]))
    if not demos:
        raise UserError(
            f"{source} holds no demos: expected data/demo_1, ..., found {', '.join(file) or 'nothing'}"
        )
    for name in demos:
        demo = file["data"][name]
        lacking = sorted(_HELD - set(demo)) + ["model_file"] * ("model_file" not in demo.attrs)
        if lacking:
            raise UserError(
                f"{source}: {name} lacks {', '.join(lacking)}, without which it cannot be rendered"
            )
    return demos


def _scene(demo: Any, source: Path, name: str) -> Scene:
    from s2robot.data.formats.rendering import Scene  # it imports mujoco

    return Scene(str(demo.attrs["model_file"]), f"{name} of {source}")


def _env_arguments(attributes: Any, source: Path) -> dict[str, Any]:
    """What the environment was made with, empty where the file does not say."""
    text = attributes.get("env_args", attributes.get("env_info", "{}"))
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UserError(f"{source}: its attributes env_args or env_info are no JSON: {error}") from error
    return arguments.get("env_kwargs", arguments) if isinstance(arguments, dict) else {}


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


def _named(arguments: dict[str, Any], scene: Scene) -> list[str]:
    """The cameras that a file asks for; else the usual ones; else the model's first."""
    asked = arguments.get("camera_names") or []
    asked = [asked] if isinstance(asked, str) else asked
    usual = [name for name in _CAMERAS if name in scene.cameras]
    return [name for name in asked if name in scene.cameras] or usual or scene.cameras[:1]


def _rate(times: np.ndarray, source: Path) -> float:
    """Control steps a second (Hz), by the simulator's clock."""
    if len(times) < 2 or not np.median(np.diff(times)) > 0:
        raise UserError(f"{source}: the times of its first demo do not rise, so its rate is not known")
    return round(1 / float(np.median(np.diff(times))), 3)


def _losses(file: Any, demos: list[str]) -> Notes:
    others = {name for demo in demos for name in file["data"][demo]} - _HELD
    groups = sorted(set(file) - {"data"})
    notes = Notes(kept=["attributes of `data` in the store's, under `robosuite`"])
    notes.lost.append("states and models: only their frames and the robot's own joints and poses")
    notes.lost.append("action_applied: the file does not say, taken to be the action")
    notes.lost += [f"{name} of each demo" for name in sorted(others)] + groups
    return notes


def _plain(value: Any) -> Any:
    """An HDF5 attribute as JSON knows it; text that is JSON itself is unpacked."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, bytes):
        plain = plain.decode(errors="replace")
    try:
        return json.loads(plain) if isinstance(plain, str) else plain
    except ValueError:
        return plain
