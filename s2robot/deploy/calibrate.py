"""`s2robot calibrate`: which camera is which, whether they look as in the demos, and where the table is.

The arm does not move by itself: it is guided by hand, or stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image, ImageDraw

from s2robot.config import instantiate
from s2robot.core.errors import UserError, unknown
from s2robot.data.durable import disk_errors
from s2robot.data.store import DemoStore
from s2robot.deploy.checks import look_through
from s2robot.robot.env import RobotEnv

_ABOVE = 0.005  # m over the table that the gripper may come
_INK = (255, 64, 200)
_SCALE = 3


def main(cfg: DictConfig) -> None:
    """Writes a picture a camera into `out` and says what it shows; `touch` measures the table.

    Raises UserError where the robot is not there, or `demos` are of other cameras.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    if plain["robot"]["_target_"] is None:
        raise UserError("robot=none has nothing to calibrate")
    env: RobotEnv = instantiate(plain["robot"])
    try:
        env.connect()
        print(*look_through(env), sep="\n", flush=True)
        for path, said in draw(env, plain):
            print(f"{path}: {said}", flush=True)
        if plain["touch"]:
            print(measure(env, plain["reach"]))
    finally:
        env.close()


def draw(env: RobotEnv, plain: dict[str, Any]) -> list[tuple[Path, str]]:
    """The pictures that were written, and what each shows."""
    frames = {name: camera.latest().image for name, camera in env.cameras.items()}
    reference = _of_demos(plain["demos"], frames) if plain["demos"] else {}
    guides = _guides(plain, frames)
    done, out = [], Path(plain["out"])
    with disk_errors(f"write {out}"):
        out.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            guide = guides.get(name)
            under = reference.get(name, None if guide is None else guide.table)
            picture = frame if under is None else blend(frame, under)
            if guide is not None:
                picture = outline(_enlarged(picture, 0), _enlarged(guide.cubes, 1))
            path = out / f"{name}.png"
            Image.fromarray(picture).save(path)
            seen = "the simulation's" if name not in reference else f"that of {plain['demos']}"
            half = "as it is" if under is None else f"half its own image, half {seen}"
            done.append((path, half + ("" if guide is None else "; outlined the cubes of the 16 positions")))
    return done


def blend(frame: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Half of each, uint8 (H, W, 3): edges that do not meet show how far the camera is off."""
    return ((frame.astype(np.uint16) + under) // 2).astype(np.uint8)


def outline(picture: np.ndarray, cubes: np.ndarray) -> np.ndarray:
    """The picture with the rims of masks (n, H, W) drawn, each with its number."""
    inside = cubes.copy()
    for axis in (1, 2):
        for shift in (-1, 1):
            inside &= np.roll(cubes, shift, axis)
    drawn = picture.copy()
    drawn[(cubes & ~inside).any(axis=0)] = _INK
    image = Image.fromarray(drawn)
    for number, mask in enumerate(cubes):
        if mask.any():
            y, x = np.argwhere(mask).mean(axis=0)
            ImageDraw.Draw(image).text((x, y), str(number), fill=_INK, anchor="mm")
    return np.asarray(image)


def _enlarged(array: np.ndarray, axis: int) -> np.ndarray:
    """Rows and columns, which begin at this axis, repeated: cubes are small."""
    return array.repeat(_SCALE, axis).repeat(_SCALE, axis + 1)


def measure(env: RobotEnv, reach: dict[str, list[float]], ask: Callable[[str], str] = input) -> str:
    """Has the gripper guided to the middle of the table; says what box follows for `robot.workspace`."""
    ask("Guide the closed gripper until it touches the table's middle. Enter: measure ")
    entries = list(env.robot_spec.gripper_position)
    x, y, z = (float(value) for value in env.look()["proprio"][entries])
    box = {
        "x": [x + reach["x"][0], x + reach["x"][1]],
        "y": [y + reach["y"][0], y + reach["y"][1]],
        "z": [z + _ABOVE, z + reach["z"][1]],
    }
    given = " ".join(f"robot.workspace.{axis}=[{low:.3f},{high:.3f}]" for axis, (low, high) in box.items())
    return f"the table's middle is at {x:.3f}, {y:.3f}, {z:.3f} m of the base frame: give {given}"


def _guides(plain: dict[str, Any], frames: dict[str, np.ndarray]) -> dict[str, Any]:
    """Camera -> its simulated view, of those that are simulated at all and see squares."""
    if plain["guide"] is None:
        return {}
    found: dict[str, Any] = {}
    for name in set(frames) & set(plain["guided"]):
        side, width, _ = frames[name].shape
        if side == width:
            found |= instantiate(plain["guide"], cameras=[name], image_size=side)
    return found


def _of_demos(path: str, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first frame of the first demo. Raises UserError for a store of other cameras or sizes."""
    store = DemoStore.open(path)
    if not len(store):
        raise UserError(f"{path} holds no demos")
    first = {}
    for name, frame in frames.items():
        if name not in store.spec.cameras:
            raise unknown("camera", name, store.spec.cameras)
        if store.spec.cameras[name] != frame.shape:
            raise UserError(
                f"{name} gives {frame.shape}, the demos of {path} have {store.spec.cameras[name]}"
            )
        first[name] = store.episodes()[0].images(name, 0)
    return first
