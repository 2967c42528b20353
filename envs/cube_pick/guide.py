"""Where the cubes of the evaluation positions would be seen: to lay out a real table and aim its cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.cube_pick import CubePick
from s2robot.tasks.cube_pick import evaluation_positions

_VISIBLE = 24  # of 255: how far a pixel is from the empty table, at least, where a cube is


@dataclass(frozen=True)
class Guide:
    """A camera's view of the simulated scene.

    Attributes:
        background: uint8 (H, W, 3), without a cube.
        starts: bool (16, H, W), where the cube at each position is seen.
    """

    background: np.ndarray
    starts: np.ndarray


def guides(cameras: list[str], image_size: int) -> dict[str, Guide]:
    """The views with the arm at home, camera by camera."""
    env = CubePick(cameras=cameras, image_size=image_size)
    try:
        views = [env.reset(seed=0, options={"cube": p})[0]["images"] for p in evaluation_positions()]
    finally:
        env.close()
    return {name: _guide(np.stack([view[name] for view in views])) for name in cameras}


def _guide(frames: np.ndarray) -> Guide:
    table = np.median(frames, axis=0).astype(np.uint8)  # each cube covers its place in one frame alone
    away = np.abs(frames.astype(np.int16) - table).max(axis=-1)
    return Guide(table, away > _VISIBLE)
