"""What an observation and an action are: names, shapes, units, dtypes. Stated once, checked everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from s2robot.core.errors import UserError, unknown

GRIPPER_POSITION = tuple(f"gripper {axis} in base frame [m]" for axis in "xyz")
"""The names of the gripper's position in the proprioception of a robot that tells it."""

Observation = dict[str, Any]
"""`{"images": {camera: uint8 (H, W, 3)}, "proprio": float32 (Dp,)}`"""


@dataclass(frozen=True)
class GripperSpec:
    """Which action entry commands a gripper, and what its values mean.

    Attributes:
        index: of the action entry.
        open, closed: the values that open and close it, in the entry's unit; which is larger does not matter.
    """

    index: int
    open: float
    closed: float

    def is_closed(self, actions: np.ndarray) -> np.ndarray:
        """Whether actions (..., Da) are nearer to `closed` than to `open`: (...) bool."""
        asked = np.asarray(actions)[..., self.index]
        return np.abs(asked - self.closed) < np.abs(asked - self.open)


@dataclass(frozen=True)
class RobotSpec:
    """What a robot, simulated or real, observes and takes.

    Attributes:
        cameras: name -> (H, W, 3) of its uint8 frames.
        proprio: one name with its unit for each of the Dp entries, e.g. `joint1 [rad]`.
        action: one name with its unit for each of the Da entries.
        action_space: what the action means: `ee_delta`, `joint`, ...
        rate: control steps a second (Hz).
        grippers: the action entries that command grippers; empty where none is known.

    Examples:
        >>> spec = s2robot.RobotSpec(
        ...     cameras={"top": (96, 96, 3)},
        ...     proprio=("x [m]", "y [m]"),
        ...     action=("x [m]", "y [m]"),
        ...     action_space="ee_position",
        ...     rate=10.0,
        ... )
        >>> store = s2robot.DemoStore.create("runs/own", spec)
        >>> store.spec.action_dim
        2
    """

    cameras: Mapping[str, tuple[int, int, int]]
    proprio: tuple[str, ...]
    action: tuple[str, ...]
    action_space: str
    rate: float
    grippers: tuple[GripperSpec, ...] = ()

    def __post_init__(self) -> None:
        for name in self.cameras:
            if {"", ".", ".."} & set(name.split("/")):  # files are named after it
                raise UserError(f"camera '{name}': expected a name without empty parts, `.` and `..`")
        for gripper in self.grippers:
            if not 0 <= gripper.index < len(self.action) or gripper.open == gripper.closed:
                raise UserError(
                    f"{gripper}: expected an index from 0 to {len(self.action) - 1}, and values that differ"
                )

    @property
    def proprio_dim(self) -> int:
        return len(self.proprio)

    @property
    def action_dim(self) -> int:
        return len(self.action)

    @property
    def gripper_position(self) -> tuple[int, ...]:
        """Where in the proprioception the gripper's position is; empty where the robot does not tell it."""
        if not set(GRIPPER_POSITION) <= set(self.proprio):
            return ()
        return tuple(self.proprio.index(name) for name in GRIPPER_POSITION)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, fit for JSON."""
        plain = asdict(self)
        plain["cameras"] = {name: list(shape) for name, shape in self.cameras.items()}
        plain["proprio"], plain["action"] = list(self.proprio), list(self.action)
        plain["grippers"] = [asdict(gripper) for gripper in self.grippers]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RobotSpec:
        """The inverse of `to_dict`. Raises UserError where a field is missing or of another kind."""
        missing = [f.name for f in fields(cls) if f.name not in plain]
        if missing:
            raise UserError(f"robot spec lacks {', '.join(missing)}; it has {', '.join(plain)}")
        try:
            return cls(
                cameras={name: tuple(shape) for name, shape in plain["cameras"].items()},
                proprio=tuple(plain["proprio"]),
                action=tuple(plain["action"]),
                action_space=plain["action_space"],
                rate=float(plain["rate"]),
                grippers=tuple(GripperSpec(**gripper) for gripper in plain["grippers"]),
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"robot spec is damaged ({error}): {dict(plain)}") from error

    def difference(self, other: RobotSpec) -> str | None:
        """In words, the first field in which two specs differ; None where they agree."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                return f"{field.name}: {mine} against {theirs}"
        return None

    def select_cameras(self, names: list[str] | None) -> RobotSpec:
        """The same robot seen through fewer cameras. Raises UserError for a camera it does not have."""
        if names is None:
            return self
        if not names or isinstance(names, str):
            raise UserError(f"cameras={names}: expected a list of one or more of {', '.join(self.cameras)}")
        for name in names:
            if name not in self.cameras:
                raise unknown("camera", name, self.cameras)
        return replace(self, cameras={n: self.cameras[n] for n in names})


def check_action(action: Any, spec: RobotSpec) -> np.ndarray:
    """The action as float32 (Da,). Raises UserError for another shape or a value that is not finite."""
    array = np.asarray(action, dtype=np.float32)
    if array.shape != (spec.action_dim,):
        raise UserError(
            f"action of shape {array.shape}: {spec.action_space} takes ({spec.action_dim},): "
            f"{', '.join(spec.action)}"
        )
    if not np.isfinite(array).all():
        bad = [name for name, value in zip(spec.action, array, strict=True) if not np.isfinite(value)]
        raise UserError(f"action is not finite in {', '.join(bad)}: {array.tolist()}")
    return array
