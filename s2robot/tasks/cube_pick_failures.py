"""Why an attempt at picking the cube up failed, and how far from the cube a policy predicted the grasp.

Both need the cube's position. The simulator tells it to the evaluation (`Scene`), never to a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from s2robot.core.task import Failure

NEVER_REACHED = "never reached"
MISSED = "missed"
PUSHED_AWAY = "pushed away"
DROPPED = "grasped and dropped"
TIMED_OUT = "timed out"
LABELS = (NEVER_REACHED, MISSED, PUSHED_AWAY, DROPPED, TIMED_OUT)

REACH = 0.06  # m: a gripper that never came nearer to the cube's centre has not reached it
LIFTED = 0.02  # m above where it rested: a cube that is tipped onto a corner is 1.5 cm up
PUSHED = 0.02  # m along the table
CLOSED = 0.75  # of the widest opening: narrower is closing, around a cube too


class Scene(NamedTuple):
    """What `env.unwrapped.scene()` tells the evaluation. Lengths in m, one frame for both positions.

    Attributes:
        gripper: (3,) where a cube is when it is held.
        opening: between the fingers.
        cube: (3,) its centre.
    """

    gripper: Sequence[float]
    opening: float
    cube: Sequence[float]


def classify(scenes: Sequence[Scene]) -> Failure:
    """Why a failed attempt failed, in this order.

    - timed out: it ended with the cube in the air.
    - grasped and dropped: the cube was in the air before, and is not at the end.
    - pushed away: the cube lies elsewhere than at the start, without having been in the air.
    - never reached: the gripper never came within `REACH` of the cube.
    - missed: the gripper closed at the cube without getting hold of it.
    - timed out: it was at the cube and did not close there.

    The metric `missed_by_m` is the distance from the gripper to the cube's centre at the nearest attempt: the
    gripper closing within `REACH`. Where there was no attempt it is the least distance at any time, and where
    the cube was held there is none.
    """
    gripper, cube = (np.array([scene[i] for scene in scenes]) for i in (0, 2))
    opening = np.array([scene.opening for scene in scenes])
    height = cube[:, 2] - cube[0, 2]
    if height[-1] > LIFTED:
        return _failure(TIMED_OUT, None)
    if height.max() > LIFTED:
        return _failure(DROPPED, None)
    distance = np.linalg.norm(gripper - cube, axis=1)
    closed = opening < CLOSED * opening.max()
    attempts = distance[1:][closed[1:] & ~closed[:-1] & (distance[1:] <= REACH)]
    missed_by = float(attempts.min() if len(attempts) else distance.min())
    if np.linalg.norm(cube[-1, :2] - cube[0, :2]) > PUSHED:
        return _failure(PUSHED_AWAY, missed_by)
    if distance.min() > REACH:
        return _failure(NEVER_REACHED, missed_by)
    return _failure(MISSED if len(attempts) else TIMED_OUT, missed_by)


def _failure(label: str, missed_by: float | None) -> Failure:
    """`missed by 2.3 cm`, `pushed away, missed by 4.0 cm`, `grasped and dropped`."""
    if missed_by is None:
        return Failure(label, label)
    by = f"missed by {100 * missed_by:.1f} cm"
    return Failure(label, by if label == MISSED else f"{label}, {by}", {"missed_by_m": missed_by})


def grasp_error(scenes: Sequence[Scene], offsets: Sequence[np.ndarray]) -> float:
    """From the predicted grasp to the cube's centre, along the table (m).

    The median of the steps before the fingers first close. An arm may start with its fingers half closed.
    Where observations come late (`perturbation=latency`), it holds what the gripper moved meanwhile too.

    Args:
        scenes: before each action, and one more or not.
        offsets: (T, 3), from the gripper to the predicted grasp, before each action (m). Its axes are those
            of the scene.
    """
    opening = np.array([scene.opening for scene in scenes[: len(offsets)]])
    closed = opening < CLOSED * opening.max()
    closings = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    steps = closings[0] if len(closings) else len(offsets)
    gaps = [np.add(s.gripper, o) - s.cube for s, o in zip(scenes[:steps], offsets[:steps], strict=True)]
    return float(np.median(np.linalg.norm(np.array(gaps)[:, :2], axis=1)))
