"""Why a rollout failed, from where the gripper and the cube were.

The cube's place is the simulator's secret: the environment tells it to the evaluation (`Scene`), never to a
policy. Where an environment does not know it, as on a real arm, failures are not classified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from s2robot.core.rollout import Subscriber
from s2robot.core.spec import Observation

NEVER_REACHED = "never reached"
MISSED = "missed"
PUSHED_AWAY = "pushed away"
DROPPED = "grasped and dropped"
TIMED_OUT = "timed out"
KINDS = (NEVER_REACHED, MISSED, PUSHED_AWAY, DROPPED, TIMED_OUT)

REACH = 0.06  # m: a gripper that never came nearer to the cube's centre has not reached it
LIFTED = 0.02  # m above where it rested: a cube that is tipped onto a corner is 1.5 cm up
PUSHED = 0.02  # m along the table
CLOSED = 0.75  # of the widest opening: narrower is closing, around a cube too


class Scene(NamedTuple):
    """What `env.unwrapped.scene()` tells the evaluation. Lengths in m, one frame for both places.

    Attributes:
        gripper: (3,) where a cube is when it is held.
        opening: between the fingers.
        cube: (3,) its centre.
    """

    gripper: Sequence[float]
    opening: float
    cube: Sequence[float]


@dataclass(frozen=True)
class Failure:
    """One of `KINDS`, and how far from the cube's centre the gripper was (m); None where it held the cube.

    The distance is that of the nearest attempt, which is the gripper closing within `REACH`; where there was
    none, the least distance at any time.
    """

    kind: str
    missed_by: float | None


class Trace(Subscriber):
    """The scene before the first action and after each one; none where the environment tells none."""

    def __init__(self, env: gymnasium.Env) -> None:
        self._scene = getattr(env.unwrapped, "scene", None)
        self.scenes: list[Scene] = []

    def on_reset(self, observation: Observation, info: dict[str, Any]) -> None:
        self.scenes = []
        self._note()

    def on_step(self, observation: Observation, action: np.ndarray, info: dict[str, Any]) -> None:
        self._note()

    def failure(self, success: bool) -> Failure | None:
        """Why the rollout failed; None for a success and where nothing is known."""
        return None if success or not self.scenes else classify(self.scenes)

    def _note(self) -> None:
        if self._scene is not None:
            self.scenes.append(self._scene())


def classify(scenes: Sequence[Scene]) -> Failure:
    """Why a failed rollout failed, in this order.

    - timed out: it ended with the cube in the air.
    - grasped and dropped: the cube was in the air before, and is not at the end.
    - pushed away: the cube lies elsewhere than at the start, without having been in the air.
    - never reached: the gripper never came within `REACH` of the cube.
    - missed: the gripper closed at the cube without getting hold of it.
    - timed out: it was at the cube and did not close there.
    """
    gripper, cube = (np.array([scene[i] for scene in scenes]) for i in (0, 2))
    opening = np.array([scene.opening for scene in scenes])
    height = cube[:, 2] - cube[0, 2]
    if height[-1] > LIFTED:
        return Failure(TIMED_OUT, None)
    if height.max() > LIFTED:
        return Failure(DROPPED, None)
    distance = np.linalg.norm(gripper - cube, axis=1)
    closed = opening < CLOSED * opening.max()
    attempts = distance[1:][closed[1:] & ~closed[:-1] & (distance[1:] <= REACH)]
    missed_by = float(attempts.min() if len(attempts) else distance.min())
    if np.linalg.norm(cube[-1, :2] - cube[0, :2]) > PUSHED:
        return Failure(PUSHED_AWAY, missed_by)
    if distance.min() > REACH:
        return Failure(NEVER_REACHED, missed_by)
    return Failure(MISSED if len(attempts) else TIMED_OUT, missed_by)


def count(outcomes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of the outcomes of `evaluation.json` failed in which way, in the order of `KINDS`."""
    kinds = [outcome.get("failure") for outcome in outcomes]
    return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}


def in_words(outcome: Mapping[str, Any]) -> str:
    """`missed by 2.3 cm (seen 0.5 cm off)`, `pushed away, missed by 4.0 cm`, `grasped and dropped`, `missed`.

    Args:
        outcome: of `evaluation.json`, of a failed rollout; older files do not say why it failed.
    """
    kind, distance, seen = (outcome.get(key) for key in ("failure", "missed_by_m", "grasp_error_m"))
    text = kind or MISSED
    if kind is not None and distance is not None:
        by = f"missed by {100 * distance:.1f} cm"
        text = by if kind == MISSED else f"{kind}, {by}"
    return text if seen is None else f"{text} (seen {100 * seen:.1f} cm off)"


def grasp_error_in_words(outcomes: Iterable[Mapping[str, Any]]) -> str:
    """`Vision was 0.5 cm off where it succeeded, 0.6 cm where it failed (medians)`; empty if not known.

    Vision as far off in either says that failures are not for want of seeing.
    """
    parts = []
    known = [outcome for outcome in outcomes if outcome.get("grasp_error_m") is not None]
    for success, how in ((True, "succeeded"), (False, "failed")):
        off = [100 * outcome["grasp_error_m"] for outcome in known if outcome["success"] is success]
        parts += [f"{np.median(off):.1f} cm {'off ' if not parts else ''}where it {how}"] if off else []
    return f"Vision was {', '.join(parts)} (medians)" if parts else ""
