"""Which action entry commands a gripper: named by the user, else guessed from the actions of all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec, RobotSpec

CONVENTIONS = {
    "so101": (0.0, 100.0),
    "aloha": (0.0, 1.0),
    "bridge": (0.0, 1.0),
    "droid": (1.0, 0.0),
    "robosuite": (1.0, -1.0),
    "umi": (0.0, 0.08),
}
"""What grippers' values mean in widespread datasets: name -> (closed, open). `umi` is a width in m.

Conventions as they are commonly described; no dataset was read to check them.
"""

_NAMES = ("gripper", "jaw", "claw")
_NEAR = 0.15  # of the range: how near to one of its two values an entry must be
_MOSTLY = 0.9  # share of the steps at which it is
_FEW = 0.1  # at most so many changes a step


def parse_gripper(text: str, action: Sequence[str]) -> GripperSpec:
    """The gripper that `ENTRY:CLOSED:OPEN` names; the entry by its name or number.

    Instead of the values a name of `CONVENTIONS` may stand; and alone, where one entry is named like a
    gripper: `so101`, `6:so101`, `gripper.pos:0:100`.

    Raises UserError for another text and for an entry that the action does not have.
    """
    entry, _, name = text.rpartition(":")
    if name in CONVENTIONS:
        closed, opened = CONVENTIONS[name]
        index = _index(entry, action, text) if entry else _only_gripper(action, text)
        return GripperSpec(index, open=opened, closed=closed)
    entry, *values = text.rsplit(":", 2)
    try:
        closed, opened = map(float, values)
    except ValueError as error:
        raise UserError(
            f"gripper={text}: expected ENTRY:CLOSED:OPEN, e.g. gripper=6:0:100, or ENTRY:NAME with one of "
            f"{', '.join(CONVENTIONS)}"
        ) from error
    return GripperSpec(_index(entry, action, text), open=opened, closed=closed)


def _only_gripper(action: Sequence[str], text: str) -> int:
    found = [i for i, name in enumerate(action) if any(word in name.lower() for word in _NAMES)]
    if len(found) != 1:
        raise UserError(
            f"gripper={text}: {len(found)} entries of {', '.join(action)} are named like a gripper: "
            f"give ENTRY:{text}"
        )
    return found[0]


def _index(entry: str, action: Sequence[str], text: str) -> int:
    plain = [name.partition(" [")[0] for name in action]
    for names in (list(action), plain):
        if names.count(entry) == 1:
            return names.index(entry)
    if entry.isdecimal() and int(entry) < len(action):
        return int(entry)
    raise UserError(f"gripper={text}: the action has no entry '{entry}'; it has {', '.join(action)}")


def guess_gripper(actions: Sequence[np.ndarray], spec: RobotSpec) -> GripperSpec | None:
    """The one entry that is named like a gripper or takes two values, open first; None where it is not plain.

    Args:
        actions: of all episodes, (T, Da) each. A robot begins a demo with an open gripper, so the value at
            which most of them begin is taken for the open one.
    """
    steps = np.concatenate(actions).astype(np.float64)
    found = [i for i in range(steps.shape[1]) if _takes_two_values([a[:, i] for a in actions], steps[:, i])]
    named = [i for i in found if any(word in spec.action[i].lower() for word in _NAMES)]
    chosen = named or found
    if len(chosen) != 1:
        return None
    index = chosen[0]
    low, high = _two_values(steps[:, index])
    first = np.array([a[0, index] for a in actions])
    opens_high = np.mean(np.abs(first - high) < np.abs(first - low)) >= 0.5
    return GripperSpec(index, open=high if opens_high else low, closed=low if opens_high else high)


def _two_values(entry: np.ndarray) -> tuple[float, float]:
    """The lower and the upper one, without their noise."""
    middle = (entry.min() + entry.max()) / 2
    return float(np.median(entry[entry <= middle])), float(np.median(entry[entry >= middle]))


def _takes_two_values(episodes: Sequence[np.ndarray], entry: np.ndarray) -> bool:
    if entry.max() <= entry.min():
        return False
    low, high = _two_values(entry)
    near = np.minimum(np.abs(entry - low), np.abs(entry - high)) <= _NEAR * (high - low)
    closer = [np.abs(e - high) < np.abs(e - low) for e in episodes]
    changes = sum(int((c[1:] != c[:-1]).sum()) for c in closer)
    return bool(near.mean() >= _MOSTLY and 0 < changes <= _FEW * len(entry) + len(episodes))
