"""`s2robot calibrate`: which camera is which, whether they look as in the demos, and where the table is.

The arm does not move by itself: it is guided by hand, or stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from s2robot.config import instantiate
from s2robot.config.options import Component
from s2robot.core.errors import UserError, unknown
from s2robot.data.durable import disk_errors
from s2robot.data.store import DemoStore
from s2robot.deploy.checks import look_through
from s2robot.robot.env import RobotEnv

_ABOVE = 0.005  # m over the table that the gripper may come
_INK = (255, 64, 200)
_SCALE = 3


Interval = tuple[float, float]


@dataclass(frozen=True)
class Reach:
    """Of the gripper around the table's middle (m)."""

    x: Interval
    y: Interval
    z: Interval


@dataclass(frozen=True)
class CalibrateOptions:
    """See configs/calibrate.yaml."""

    robot: Component
    out: str
    demos: str | None
    touch: bool
    reach: Reach
    guided: tuple[str, ...]
    guide: Component | None


class Guide(Protocol):
    """A camera's simulated view.

    `background`: uint8 (H, W, 3). `starts`: bool (n, H, W), where each fixed start of the task is seen.
    """

    @property
    def background(self) -> np.ndarray: ...

    @property
    def starts(self) -> np.ndarray: ...


def main(options: CalibrateOptions) -> None:
    """Writes a picture a camera into `out` and says what it shows; `touch` measures the table.

    Raises UserError where the robot is not there, or `demos` are of other cameras.
    """
    if options.robot["_target_"] is None:
        raise UserError("robot=none has nothing to calibrate")
    env: RobotEnv = instantiate(options.robot)
    try:
        env.connect()
        print(*look_through(env), sep="\n", flush=True)
        for path, content in draw(env, options):
            print(f"{path}: {content}", flush=True)
        if options.touch:
            print(measure(env, options.reach))
    finally:
        env.close()


def draw(env: RobotEnv, options: CalibrateOptions) -> list[tuple[Path, str]]:
    """The pictures that were written, and what each shows."""
    frames = {name: camera.latest().image for name, camera in env.cameras.items()}
    reference = _of_demos(options.demos, frames) if options.demos else {}
    guides = _guides(options, frames)
    done, out = [], Path(options.out)
    with disk_errors(f"write {out}"):
        out.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            guide = guides.get(name)
            under = reference.get(name, None if guide is None else guide.background)
            picture = frame if under is None else blend(frame, under)
            if guide is not None:
                picture = outline(_enlarged(picture, 0), _enlarged(guide.starts, 1))
            path = out / f"{name}.png"
            Image.fromarray(picture).save(path)
            source = "the simulation's" if name not in reference else f"that of {options.demos}"
            half = "as it is" if under is None else f"half its own image, half {source}"
            done.append((path, half + ("" if guide is None else "; outlined the task's fixed starts")))
    return done


def blend(frame: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Half of each, uint8 (H, W, 3): edges that do not meet show how far the camera is off."""
    return ((frame.astype(np.uint16) + under) // 2).astype(np.uint8)


def outline(picture: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture with the rims of masks (n, H, W) drawn, each with its number."""
    inside = masks.copy()
    for axis in (1, 2):
        for shift in (-1, 1):
            inside &= np.roll(masks, shift, axis)
    drawn = picture.copy()
    drawn[(masks & ~inside).any(axis=0)] = _INK
    image = Image.fromarray(drawn)
    for number, mask in enumerate(masks):
        if mask.any():
            y, x = np.argwhere(mask).mean(axis=0)
            ImageDraw.Draw(image).text((x, y), str(number), fill=_INK, anchor="mm")
    return np.asarray(image)


def _enlarged(array: np.ndarray, axis: int) -> np.ndarray:
    """Rows and columns, which begin at this axis, repeated: what is outlined is small."""
    return array.repeat(_SCALE, axis).repeat(_SCALE, axis + 1)


def measure(env: RobotEnv, reach: Reach, ask: Callable[[str], str] = input) -> str:
    """Has the gripper guided to the middle of the table; says what box follows for `robot.workspace`."""
    ask("Guide the closed gripper until it touches the table's middle. Enter: measure ")
    entries = list(env.robot_spec.gripper_position)
    x, y, z = (float(value) for value in env.look()["proprio"][entries])
    box = {
        "x": [x + reach.x[0], x + reach.x[1]],
        "y": [y + reach.y[0], y + reach.y[1]],
        "z": [z + _ABOVE, z + reach.z[1]],
    }
    given = " ".join(f"robot.workspace.{axis}=[{low:.3f},{high:.3f}]" for axis, (low, high) in box.items())
    return f"the table's middle is at {x:.3f}, {y:.3f}, {z:.3f} m of the base frame: give {given}"


def _guides(options: CalibrateOptions, frames: dict[str, np.ndarray]) -> dict[str, Guide]:
    """Camera -> its simulated view, of those that are simulated at all.

    The simulation renders squares: beside the square in the middle of a wider frame there is no guide.
    """
    if options.guide is None:
        return {}
    found: dict[str, Guide] = {}
    for name in set(frames) & set(options.guided):
        side = min(frames[name].shape[:2])
        square: Guide = instantiate(options.guide, cameras=[name], image_size=side)[name]
        found[name] = _Centred(square, frames[name])
    return found


class _Centred:
    """A square guide in the middle of a frame."""

    def __init__(self, square: Guide, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        middle = slice(top, top + side), slice(left, left + side)
        self.background = frame.copy()
        self.background[middle] = square.background
        self.starts = np.zeros((len(square.starts), height, width), bool)
        self.starts[:, *middle] = square.starts


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
