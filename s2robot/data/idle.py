"""Idle steps: the one definition of them.

A step is idle where nothing is asked of the robot: a delta of about zero or, where actions are or may be
absolute, an action like that of the step before while the proprioception rests too. What is small is measured
against what the same entry usually does. A step at which a gripper opens or closes is never idle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s2robot.core.spec import RobotSpec

_SHARE = 0.05  # of what an entry usually does: less is the tremble of a hand or the noise of an encoder
_DELTAS = ("ee_delta", "osc_pose")


def idle_steps(
    actions: Sequence[np.ndarray], proprio: Sequence[np.ndarray], spec: RobotSpec
) -> list[np.ndarray]:
    """Whether each step of each episode is idle, bool (T,).

    Args:
        actions, proprio: of all episodes that are compared, (T, Da) and (T, Dp).
    """
    grippers = [gripper.index for gripper in spec.grippers]
    moved = [np.delete(a.astype(np.float64), grippers, axis=1) for a in actions]
    if spec.action_space in _DELTAS:
        still = _small(moved)
    else:
        changes = [np.diff(m, axis=0, prepend=m[:1]) for m in moved]
        still = [a & b for a, b in zip(_small(changes), resting_steps(proprio), strict=True)]
    return [s & ~_turns(a, spec) for s, a in zip(still, actions, strict=True)]


def resting_steps(proprio: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Whether nothing that the proprioception (T, Dp) tells moves until the next step, bool (T,)."""
    return _small([np.diff(p.astype(np.float64), axis=0, append=p[-1:]) for p in proprio])


def idle_share(actions: Sequence[np.ndarray], proprio: Sequence[np.ndarray], spec: RobotSpec) -> float:
    """The share of idle steps, 0 to 1."""
    idle = idle_steps(actions, proprio, spec)
    return float(np.concatenate(idle).mean()) if idle else 0.0


def idle_text(share: float) -> str:
    """`80 % idle`."""
    return f"{100 * share:.0f} % idle"


def _small(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Whether all entries of a step are small for them, bool (T,)."""
    usual = np.quantile(np.abs(np.concatenate(values)), 0.99, axis=0) if values else 0
    return [np.asarray((np.abs(v) <= _SHARE * usual).all(axis=1)) for v in values]


def _turns(action: np.ndarray, spec: RobotSpec) -> np.ndarray:
    """Whether a gripper opens or closes at each step, bool (T,)."""
    turns = np.zeros(len(action), bool)
    for gripper in spec.grippers:
        closed = gripper.is_closed(action)
        turns[1:] |= closed[1:] != closed[:-1]
    return turns
