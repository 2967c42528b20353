"""Why a rollout failed, from where the gripper and the cube were.

The cube's place is the simulator's secret: the environment tells it to the evaluation (`Scene`), never to a
policy. Where an environment does not know it, as on a real arm, failures are not classified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np

from s2robot.core.rollout import Subscriber
from s2robot.core.spec import Observation
from s2robot.tasks.cube_pick_failures import LABELS, MISSED, Scene, classify


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

    def failure(self, success: bool) -> Any:
        """Why the rollout failed; None for a success and where nothing is known."""
        if success or not self.scenes:
            return None
        found = classify(self.scenes)
        return SimpleNamespace(kind=found.label, missed_by=found.metrics.get("missed_by_m"))

    def _note(self) -> None:
        if self._scene is not None:
            self.scenes.append(self._scene())


def count(outcomes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of the outcomes of `evaluation.json` failed in which way, in the order of `LABELS`."""
    kinds = [outcome.get("failure") for outcome in outcomes]
    return {kind: kinds.count(kind) for kind in LABELS if kind in kinds}


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
