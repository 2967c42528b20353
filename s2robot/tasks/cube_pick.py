"""The cube-pick task: 16 fixed starts, seeded draws of further ones, and why an attempt failed.

All poses are (x, y, yaw) in the table frame: origin at the table's centre, x away from the robot, y to the
robot's left, both in m; yaw in rad about the vertical.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.task import Failure, SpawnRegion, Start, Task
from s2robot.tasks.cube_pick_failures import LABELS, Scene, classify, grasp_error

X_RANGE = (-0.12, 0.12)
Y_RANGE = (-0.15, 0.15)
EXCLUSION_RADIUS = 0.01
"""Demos and pre-training frames keep the cube at least this far (m) from each of the 16 positions."""

CubePose = tuple[float, float, float]

_GRID = 4
_EVALUATION_SEED = 16


@dataclass(frozen=True)
class CubePickTask(Task):
    """Pick the cube up from the table. A start's option `cube` is its pose, [x (m), y (m), yaw (rad)]."""

    name: str = "cube_pick"
    instruction: str = "pick up the cube"
    goal: str = "picked up the cube"

    region: ClassVar[SpawnRegion | None] = SpawnRegion(
        X_RANGE,
        Y_RANGE,
        right="y",
        up="-x",
        x_label="away from the robot",
        y_label="to the robot's left",
        view="seen from the front camera, the robot at the top",
    )
    failure_labels: ClassVar[tuple[str, ...]] = LABELS
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "grasp_error_m": "how far, along the table, the grasp that the policy predicts from the images lies "
        "from the cube; the median of the steps before the gripper closes",
        "missed_by_m": "the least distance from the gripper to the cube's centre when it closed",
    }
    expert: ClassVar[Mapping[str, Any] | None] = {"_target_": "demos.cube_pick.plain_expert"}
    perturbations: ClassVar[Mapping[str, Any] | None] = {"_target_": "envs.perturbations.find_perturbation"}

    @property
    def fixed_starts(self) -> Sequence[Start]:
        """The 16 evaluation positions."""
        return [start_at(pose, f"Position {i}: ") for i, pose in enumerate(evaluation_positions())]

    def random_starts(self, count: int, seed: int) -> list[Start]:
        """`count` starts drawn uniformly over the region; a seed's first k are the same for every count."""
        return [start_at(pose) for pose in further_positions(count, seed)]

    def failure(self, trace: Sequence[Scene]) -> Failure | None:
        """See `cube_pick_failures.classify`."""
        return classify(trace) if trace else None

    def metrics(self, trace: Sequence[Scene], grasp_offsets: Sequence[np.ndarray]) -> dict[str, float]:
        """`grasp_error_m`: from the predicted grasp to the cube, along the table."""
        if not trace or not grasp_offsets:
            return {}
        return {"grasp_error_m": grasp_error(trace, grasp_offsets)}


def start_at(pose: CubePose, label: str = "") -> Start:
    """The start with the cube at a pose; the label comes before the sentence that says how to set it up."""
    x, y, yaw = pose
    away = f"{100 * abs(x):.1f} cm {'away from' if x >= 0 else 'towards'} the robot"
    side = f"{100 * abs(y):.1f} cm to the robot's {'left' if y >= 0 else 'right'}"
    setup = f"{label}from the table's middle {away}, {side}, turned by {np.degrees(yaw):.0f} degrees"
    return Start({"cube": [x, y, yaw]}, (x, y, yaw), setup)


def _uniform(rng: np.random.Generator) -> CubePose:
    x, y = rng.uniform(*X_RANGE), rng.uniform(*Y_RANGE)
    return float(x), float(y), float(rng.uniform(-np.pi, np.pi))


def evaluation_positions() -> list[CubePose]:
    """The 16 positions every success rate is counted on, one in each cell of a 4 x 4 grid over the region.

    Inside its cell (0.06 x 0.075 m) a position is drawn once, from a fixed seed, away from the cell's rim by
    a tenth of its side; so the 16 cover the region without lying on a lattice. Rounded to 0.1 mm and 1
    mrad so that they can be written down and laid out by hand on a real table.
    """
    rng = np.random.default_rng(_EVALUATION_SEED)
    positions = []
    for row in range(_GRID):
        for column in range(_GRID):
            u, v = (np.array([row, column]) + rng.uniform(0.1, 0.9, size=2)) / _GRID
            x = X_RANGE[0] + u * (X_RANGE[1] - X_RANGE[0])
            y = Y_RANGE[0] + v * (Y_RANGE[1] - Y_RANGE[0])
            yaw = rng.uniform(-np.pi, np.pi)
            positions.append((round(float(x), 4), round(float(y), 4), round(float(yaw), 3)))
    return positions


def further_positions(count: int, seed: int) -> list[CubePose]:
    """`count` poses drawn uniformly over the region; a seed's first k are the same for every count."""
    rng = np.random.default_rng([seed, 1])
    return [_uniform(rng) for _ in range(count)]


def demo_position(rng: np.random.Generator) -> CubePose:
    """A uniform draw over the region, `EXCLUSION_RADIUS` away from the 16 evaluation positions."""
    held_out = np.array([(x, y) for x, y, _ in evaluation_positions()])
    while True:
        pose = _uniform(rng)
        if np.linalg.norm(held_out - np.array(pose[:2]), axis=1).min() >= EXCLUSION_RADIUS:
            return pose


def check_options(options: Mapping[str, Any] | None) -> CubePose | None:
    """The cube's pose that a reset's options name; None: it is to be drawn.

    Raises UserError for an option that there is not, and as `check_pose`.
    """
    for name in options or {}:
        if name != "cube":
            raise unknown("reset option", name, ["cube"])
    pose = (options or {}).get("cube")
    return None if pose is None else check_pose(pose)


def check_pose(pose: Sequence[float]) -> CubePose:
    """The pose as floats. Raises UserError where it is malformed or outside the spawn region."""
    try:
        x, y, yaw = (float(v) for v in pose)
    except (TypeError, ValueError):
        raise UserError(f"cube={pose!r}: expected (x [m], y [m], yaw [rad])") from None
    inside = X_RANGE[0] <= x <= X_RANGE[1] and Y_RANGE[0] <= y <= Y_RANGE[1]
    if not (inside and np.isfinite(yaw)):
        raise UserError(f"cube={pose!r}: expected x in {X_RANGE} m, y in {Y_RANGE} m and a finite yaw")
    return x, y, yaw
