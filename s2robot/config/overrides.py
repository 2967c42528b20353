"""Overrides as the user typed them: read, compared with the defaults, refused in one line if unfit."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from s2robot.config.defaults import Defaults
from s2robot.core.errors import UserError, unknown

_NAMED = re.compile(r"~(?!/)|\+|[\w.@-]*=")  # a path with = in it has a slash before, or is written path=...
_OPTION = r"[+~]?[\w.@/]+="
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w./-]*")
_NO_TEXT = ("true", "false", "null", "none", "nan", "inf")
_INDEXED = r"[\w./%-]+(?:\[[-\d:, ]*\])?"
PER_CAMERA = ("encoder.fit", "encoder.crop")
"""Options of one value for all cameras, or of one a camera."""

_OF_SEVERAL_TYPES = "resize_to"
"""Ends the names of options that are a number or a list: their dataclasses check them."""

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def parse(text: str, is_text: Callable[[str, str], bool] = lambda name, value: False) -> Override:
    """One override in Hydra's grammar; a value that the grammar cannot read is taken as plain text.

    Args:
        is_text: whether the value of the option of this name is text: it is then taken as it is, whatever
            Hydra's grammar would make of it. Asked only where that matters.

    Raises UserError for what is not `name=value`.
    """
    name, equals, value = text.partition("=")
    bare, _, package = name.lstrip("+~").partition("@")
    if not bare or (not package and name.endswith("@")) or not (equals or name.startswith("~")):
        raise UserError(f"'{text}' is no option: options are written name=value, e.g. seed=1")
    try:
        override = OverridesParser.create().parse_overrides([text])[0]
    except OverrideParseException as error:
        if is_text(name, value):
            return _text(name, value)
        if entries := _options_in(value) or _indexed_in(value):
            return _hydra(name, f"[{','.join(map(quoted, entries))}]")
        if value.startswith(("[", "{", "'", '"')):
            raise UserError(
                f"{text}: cannot be read: a list is written [a,b], text as it is or '...'"
            ) from error
        return _text(name, value)
    as_it_is = not override.is_sweep_override() and override.value() == value and "${" not in value
    return override if as_it_is or not is_text(name, value) else _text(name, value)


def _text(name: str, value: str) -> Override:
    """The override of an option whose value is this text; shells leave the `~` of `out=~/runs` alone."""
    text = os.path.expanduser(value) if value.startswith("~/") else value
    return _hydra(name, quoted(text))


def _hydra(name: str, value: str) -> Override:
    try:
        return OverridesParser.create().parse_overrides([f"{name}={value}"])[0]
    except OverrideParseException as error:
        raise UserError(f"'{name}' is no name of an option: they look like seed or env.rate") from error


def _options_in(value: str) -> list[str]:
    """The options of a list of options whose quotes the shell has taken: `[a=1,b=[2,3]]`; [] for another.

    A comma ends an option where another name follows: `[seed=0,1,lr=1]` are two.
    """
    if not (value.startswith("[") and value.endswith("]")):
        return []
    inner, depth, starts = value[1:-1], 0, [0]
    for found in re.finditer(rf"[\[{{]|[\]}}]|,(?={_OPTION})", inner):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if found[0] == "," and depth == 0:
            starts.append(found.end())
    entries = [inner[a:b] for a, b in zip(starts, [*(s - 1 for s in starts[1:]), len(inner)], strict=True)]
    return entries if all(re.match(_OPTION, entry) for entry in entries) else []


def _indexed_in(value: str) -> list[str]:
    """The entries of a list of names some of which have indices: `[state[:2],pose[0,3]]`; [] for another."""
    if not re.fullmatch(rf"\[{_INDEXED}(,\s*{_INDEXED})*\]", value):
        return []
    return [found[0] for found in re.finditer(_INDEXED, value[1:-1])]


def gather_cameras(texts: Sequence[str]) -> list[str]:
    """The overrides with those of single cameras, `encoder.fit.front=crop`, as one section of the option.

    What was given for the option itself holds for all other cameras.
    """
    gathered = list(texts)
    for option in PER_CAMERA:
        single = [text for text in gathered if text.startswith(f"{option}.")]
        if single:
            others = [text for text in gathered if text.startswith(f"{option}=")]
            named = {"others": others[-1].partition("=")[2]} if others else {}
            for text in single:
                camera, _, value = text.removeprefix(f"{option}.").rpartition("=")
                named[camera] = value
            gathered = [text for text in gathered if text not in (*single, *others)]
            gathered.append(f"{option}={{{','.join(f'{name}:{value}' for name, value in named.items())}}}")
    return gathered


def undash(arguments: Sequence[str], takes_value: Callable[[str], bool]) -> list[str]:
    """`--json` -> `json=true`, `--steps=5` -> `steps=5`, `--steps 5` too where the option takes a value."""
    read, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        bare = argument.removeprefix("--")
        if bare == argument or "=" in bare:
            read.append(bare)
        elif rest and not rest[0].startswith("--") and takes_value(bare):
            read.append(f"{bare}={rest.pop(0)}")
        else:
            read.append(f"{bare}=true")
    return read


def place(arguments: Sequence[str], places: Sequence[str]) -> list[str]:
    """Overrides, those without a name under the names of the places, in order: `runs/demos` -> `path=...`.

    A place that ends in `...` takes all that are left as a list of texts. What has no place stays as it is.
    """
    named = [argument for argument in arguments if _NAMED.match(argument)]
    rest = [argument for argument in arguments if not _NAMED.match(argument)]
    for name in places:
        if rest and name.endswith("..."):
            named.append(f"{name.removesuffix('...')}=[{','.join(map(quoted, rest))}]")
            rest = []
        elif rest:
            named.append(f"{name}={rest.pop(0)}")
    return named + rest


def chooses(text: str, defaults: Defaults) -> bool:
    """Whether an override picks one file of a group, as against setting a value."""
    group, equals, value = text.partition("=")
    return group in defaults.groups and bool(equals) and not value.startswith("{")


def check_choice(override: Override, defaults: Defaults) -> str:
    """The override for Hydra. Raises UserError for a choice that the group does not have."""
    group = _group(override)
    valid = defaults.choices(group)
    if override.is_sweep_override() or str(override.value()) not in valid:
        raise unknown(group, _typed(override), valid)
    return str(override.input_line)


def _group(override: Override) -> str:
    """The group as `Defaults.groups` names it: `task@env.task`."""
    return f"{override.key_or_group}@{override.package}" if override.package else override.key_or_group


def check_value(override: Override, defaults: Defaults) -> Override:
    """The override; in a section that is empty by default, as one that adds to it.

    Raises UserError for an unknown option or a value of another type.
    """
    name, typed = override.key_or_group, _typed(override)
    if override.is_delete() or override.is_add() or override.package:
        return override  # Hydra's finer points are left to Hydra
    if override.is_sweep_override():
        raise UserError(f"{name}={typed}: takes one value; a list is written [{typed}]")
    if _in_open_section(name, defaults):
        return parse(f"+{override.input_line}")
    if not any(leaf == name or leaf.startswith(f"{name}.") for leaf in defaults.leaves):
        valid = [*defaults.groups, *defaults.options()]
        raise unknown("option", name, valid, f"s2robot {defaults.name.replace('_', ' ')} --help")
    default = defaults.value(name)
    if name.endswith(_OF_SEVERAL_TYPES) or (name in PER_CAMERA and isinstance(override.value(), dict)):
        return override
    if not _fits(override.value(), default):
        shown = "" if OmegaConf.is_dict(default) else f" (default {as_override(default)})"
        raise UserError(f"{name}={typed}: expected {_expected(default)}{shown}")
    return override


def _in_open_section(name: str, defaults: Defaults) -> bool:
    """Whether an option lies in a section that is empty: any may be given there."""
    parts = name.split(".")
    above = [".".join(parts[:i]) for i in range(1, len(parts))]
    return any(leaf in above and defaults.value(leaf) == {} for leaf in defaults.leaves)


def as_override(value: Any) -> str:
    """A value as one types it behind `name=`: `null`, `true`, `[224,448]`, text as it is."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if isinstance(value, list):
        return f"[{','.join(map(as_override, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_override(entry)}" for key, entry in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def as_overrides(options: Mapping[str, Any]) -> list[str]:
    """Python values as overrides; a mapping gives the options of a section.

    >>> as_overrides({"env": "toy", "policy": {"width": 64}, "encoder": {"sizes": (224, 448)}})
    ['env=toy', 'policy.width=64', 'encoder.sizes=[224,448]']
    """
    return [f"{name}={_written(value)}" for name, value in _flat(options, "")]


def _flat(options: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _written(value: Any) -> str:
    """A value in Hydra's grammar, which reads it as what it is."""
    if isinstance(value, str | Path):
        text = str(value)
        is_plain = _PLAIN_TEXT.fullmatch(text) and text.lower() not in _NO_TEXT
        return text if is_plain else quoted(text)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value)


def _fits(value: Any, default: Any) -> bool:
    """Whether a value has the type of the default. A default of null takes any; `${...}` fits anywhere."""
    if default is None or (isinstance(value, str) and "${" in value):
        return True
    if OmegaConf.is_list(default):
        return isinstance(value, list) and (not default or all(_fits(entry, default[0]) for entry in value))
    if OmegaConf.is_dict(default):
        return isinstance(value, dict)
    if isinstance(default, str):
        return isinstance(value, str | int | float)
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int if isinstance(default, int) else int | float)


def _expected(default: Any) -> str:
    if OmegaConf.is_list(default):
        return f"a list, each entry {_expected(default[0])}" if default else "a list"
    if OmegaConf.is_dict(default):
        return f"a section's options one by one: {', '.join(map(str, default))}"
    return _KINDS.get(type(default), "a value")


def _typed(override: Override) -> str:
    return str(override.input_line).partition("=")[2]


def quoted(text: str) -> str:
    """Text as Hydra's grammar quotes it, so that neither Hydra nor OmegaConf reads anything into it.

    A quote is escaped, and so are backslashes in front of one; `${` would be an interpolation.
    """
    plain = re.sub(r"(\\*)\$\{", lambda m: rf"{m[1] * 2}\${{", text)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), plain) + "'"
