"""Demos in the formats of others: `s2robot import` and `s2robot export`, one file a format.

A format is a class with a method `read`, `write` or both, and one line in `FORMATS`:

    @dataclass(frozen=True)
    class CsvOptions:
        separator: str = ","

    class Csv:
        \"\"\"One CSV file an episode, without frames.\"\"\"  # the first line is what --help shows

        def read(self, source: Path, options: CsvOptions) -> Incoming: ...
        def write(self, outgoing: Outgoing, target: Path, options: CsvOptions) -> Notes: ...

`Incoming`, `Outgoing` and `Notes` are in `s2robot.data.formats.transfer`. The options are the frozen
dataclass that annotates the method's parameter `options`. Each of its fields is taken from the command's
option of that name (configs/import.yaml, configs/export.yaml) where that is not null, else from the command's
section `options` (on the command line `+options.separator=:`), else from its default in the dataclass. An
option that is given and that the format does not have is refused.

`read` returns the spec and an iterator over the episodes, of which one is in memory at a time. An episode
that cannot be loaded is set aside, the others are imported. `write` makes a file or folder at `target`, which
gets its name when all is written. Both raise UserError for what the format cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, get_type_hints

from s2robot.config.options import read_options, shown
from s2robot.config.targets import locate
from s2robot.core.errors import UserError, unknown

FORMATS = {
    "diffusion_policy": "s2robot.data.formats.diffusion_policy:DiffusionPolicy",
    "lerobot": "s2robot.data.formats.lerobot:LeRobot",
    "mp4": "s2robot.data.formats.mp4:Mp4",
    "robomimic": "s2robot.data.formats.robomimic:Robomimic",
}
"""Name -> `module:class`, imported when it is chosen: some need an extra."""

Direction = Literal["read", "write"]


def formats(direction: Direction) -> dict[str, str]:
    """The formats that are read or written: name -> the first line of what its class says of it."""
    found = {name: locate(target) for name, target in FORMATS.items()}
    return {n: (f.__doc__ or "").partition("\n")[0] for n, f in found.items() if hasattr(f, direction)}


def find_format(name: str, direction: Direction) -> Any:
    """The format's class, made. Raises UserError for an unknown one, and one without such a method."""
    if name not in FORMATS or not hasattr(locate(FORMATS[name]), direction):
        raise unknown("format", name, formats(direction))
    return locate(FORMATS[name])()


def format_options(form: str, method: Any, given: Mapping[str, Any], further: Mapping[str, Any]) -> Any:
    """The options of a format's `read` or `write`, as its dataclass.

    Args:
        form: the format's name, for messages.
        given: options of the command that some formats have; null ones count as not given.
        further: the command's section `options`.

    Raises UserError for an option that the format does not have.
    """
    names = option_names(method)
    for name, value in given.items():
        is_given = any(v is not None for v in (value.values() if isinstance(value, Mapping) else [value]))
        if is_given and name not in names:
            takes = ", ".join(n for n in names if n in given) or "none of these options"
            raise UserError(f"{name}={shown(value)}: format={form} has no such option; it has {takes}")
    for name in further:
        if name not in names:
            raise unknown("option of this format", name, names)
    cls = get_type_hints(method)["options"]
    required = {field.name for field in fields(cls) if field.default is MISSING}
    chosen = {n: given[n] for n in names if n in given and (given[n] is not None or n in required)}
    return read_options(cls, chosen | dict(further))


def option_names(method: Any) -> list[str]:
    """The options that a format's `read` or `write` takes."""
    return [field.name for field in fields(get_type_hints(method)["options"])]


def import_help() -> str:
    """What `s2robot import --help` ends with."""
    return _listing("read")


def export_help() -> str:
    """What `s2robot export --help` ends with."""
    return _listing("write")


def _listing(direction: Direction) -> str:
    found = formats(direction)
    width = max(map(len, found))
    return "\n".join(["formats:", *(f"  {name:{width}}  {about}" for name, about in found.items())])
