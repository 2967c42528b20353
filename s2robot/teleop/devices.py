"""The registry of teleop devices: what `s2robot record teleop=NAME` makes, alone or joined by `+`.

A new device is one file and one line here. The file holds a class that is a `TeleopDevice`, a frozen
dataclass of its options, and a `DeviceKind` that says how the one is made from the other:

    @dataclass(frozen=True)
    class WheelOptions:
        view: str                     # of the same name in configs/record.yaml
        sensitivity: float = 1.0      # not among them: always the default

    KIND = DeviceKind(WheelOptions, lambda options, context: Wheel(options.view, options.sensitivity))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

import gymnasium

from s2robot.config.targets import locate
from s2robot.core.errors import UserError, unknown
from s2robot.teleop.device import TeleopDevice, Together

DEVICES: dict[str, str] = {
    "browser": "s2robot.teleop.server:KIND",
    "spacemouse": "s2robot.teleop.spacemouse:KIND",
    "gamepad": "s2robot.teleop.gamepad:KIND",
    "phone": "s2robot.teleop.phone:KIND",
    "leader": "s2robot.teleop.leader:KIND",
    "terminal": "s2robot.teleop.terminal:KIND",
}
"""Name -> `module:attribute` of its `DeviceKind`; imported where it is used."""

Options = TypeVar("Options")


@dataclass(frozen=True)
class TeleopContext:
    """What a device may know of the session that it is made for.

    Attributes:
        env: the environment that is steered.
        about: what a page shows of the session, fit for JSON.
    """

    env: gymnasium.Env
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceKind(Generic[Options]):
    """How a device is made, and what it can do.

    Attributes:
        options: a dataclass; its fields are read from the options of the command that have their names.
        make: the device. Raises UserError where its extra is missing, or it does not fit the environment.
        can_steer: it gives motions.
        can_discard: its buttons suffice to discard a take.
        can_supervise: a person can watch over a policy at it.
    """

    options: type[Options]
    make: Callable[[Options, TeleopContext], TeleopDevice]
    can_steer: bool = True
    can_discard: bool = True
    can_supervise: bool = True

    def make_from(self, options: Any, context: TeleopContext) -> TeleopDevice:
        """The device for the options of a command."""
        names = [f.name for f in fields(self.options) if hasattr(options, f.name)]  # type: ignore[arg-type]
        return self.make(self.options(**{name: getattr(options, name) for name in names}), context)


@dataclass(frozen=True)
class NoOptions:
    """Of a device without any."""


def find_kinds(teleop: str, supervises: bool) -> list[DeviceKind[Any]]:
    """The kinds that `teleop=` names, joined by `+`; the first steers.

    Args:
        teleop: e.g. `spacemouse+browser`.
        supervises: whether a policy acts until the person takes over.

    Raises UserError for an unknown device, and where what they can do together is not enough.
    """
    names = teleop.split("+")
    for name in names:
        if name not in DEVICES:
            raise unknown("teleop device", name, ["none", *DEVICES])
    kinds: list[DeviceKind[Any]] = [locate(DEVICES[name]) for name in names]
    if not any(kind.can_discard for kind in kinds):
        raise UserError(
            f"teleop={teleop} has too few buttons to discard a take: join another, "
            f"for example teleop={teleop}+browser"
        )
    if supervises and not all(kind.can_supervise for kind in kinds):
        raise UserError(
            f"teleop={teleop} cannot watch over a checkpoint=: it does not follow the arm "
            "that the policy moves"
        )
    if not supervises and not any(kind.can_steer for kind in kinds):
        raise UserError(
            f"teleop={teleop} cannot steer: join another, for example teleop=spacemouse+{teleop}; "
            "it does for watching over a checkpoint="
        )
    return kinds


def make_device(kinds: Sequence[DeviceKind[Any]], options: Any, context: TeleopContext) -> TeleopDevice:
    """The devices as one. Raises UserError as their `make` does; those made before are closed then."""
    devices: list[TeleopDevice] = []
    try:
        for kind in kinds:
            devices.append(kind.make_from(options, context))
    except BaseException:
        for device in devices:
            device.close()
        raise
    return Together(devices)
