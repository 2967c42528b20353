"""From a composed configuration to the one typed, frozen dataclass that a command receives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from omegaconf import DictConfig, OmegaConf
from pydantic import AllowInfNan, TypeAdapter, ValidationError

from s2robot.core.errors import UserError, unknown

T = TypeVar("T")

Count = Annotated[int, Ge(1)]
Few = Annotated[int, Ge(1), Le(1000)]
"""A number of layers or iterations: one more would only come of a damaged file, and take for ever."""
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0), AllowInfNan(False)]
NonNegative = Annotated[float, Ge(0), AllowInfNan(False)]
Share = Annotated[float, Ge(0), Le(1), AllowInfNan(False)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1), AllowInfNan(False)]
Component = Mapping[str, Any]
"""`_target_` and its arguments: what `instantiate` takes."""

_HELP = "the command's --help"
_BOUNDS = {"ge": "{:g} or more", "gt": "more than {:g}", "le": "at most {:g}", "lt": "less than {:g}"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a section",
    "mapping": "a section",
    "dataclass": "a section",
    "none": "null",
}


def options_of(command: Callable[[Any], Any]) -> type[Any]:
    """The dataclass that a command takes, by the annotation of its first parameter."""
    return next(hint for name, hint in get_type_hints(command).items() if name != "return")


def holds_text(cls: type[Any], name: str, value: str) -> bool | None:
    """Whether an option of the dataclass, by its dotted name, takes this value as the text it is.

    That of a `str` does; that of a `str | None` but for `null`, that of `str | tuple[...]` but for lists.
    None: the dataclass does not tell, as of the arguments of a component.
    """
    first, _, rest = name.partition(".")
    hint = get_type_hints(cls).get(first)
    if hint is None or hint is Component:
        return None
    if rest:
        inner = next((h for h in (hint, *get_args(hint)) if is_dataclass(h)), None)
        return None if inner is None else holds_text(inner, rest, value)  # type: ignore[arg-type]
    others = {get_origin(member) or member for member in get_args(hint)} - {str}
    is_other = (NoneType in others and value == "null") or (tuple in others and set(value) & set("[,"))
    return hint is str or (str in get_args(hint) and others <= {NoneType, tuple} and not is_other)


def read_options(cls: type[T], config: DictConfig | Mapping[str, Any]) -> T:
    """The options as an instance of the dataclass `cls`, checked once.

    Bounds and choices stand in the annotations: `steps: Count`, `head: Literal["l1", "mse"]`.

    Raises UserError for the first value that does not fit, in one line that says what was given and expected.
    """
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    _refuse_unknown(cls, plain, "")
    try:
        # As JSON: strict, but lists become tuples and sections dataclasses.
        return _adapter(cls).validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise _one_line(error) from error


def to_plain(options: Any) -> dict[str, Any]:
    """The inverse of `read_options`: what files keep of the options."""
    return json.loads(json.dumps(asdict(options), default=str))


def _refuse_unknown(cls: type[Any], plain: Any, section: str) -> None:
    """Raises UserError for an option that the dataclass does not have: one added with `+`."""
    if not isinstance(plain, Mapping) or gathers(cls):
        return
    hints = get_type_hints(cls)
    for name, value in plain.items():
        if name not in hints:
            raise unknown("option", f"{section}{name}", [f"{section}{hint}" for hint in hints], _HELP)
        for hint in (hints[name], *get_args(hints[name])):
            if is_dataclass(hint):
                _refuse_unknown(hint, value, f"{section}{name}.")  # type: ignore[arg-type]


def gathers(cls: type[Any]) -> bool:
    """Whether a dataclass reads its section by rules of its own, which refuse what is unknown."""
    return any(hasattr(cls, name) for name in ("_gather", "__get_pydantic_core_schema__"))


@cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls)


def _one_line(error: ValidationError) -> UserError:
    """The first error; what the members of a union expect is joined by `or`."""
    errors = error.errors(include_url=False)
    first = errors[0]
    name = _name(first["loc"])
    same = [e for e in errors if e["input"] is first["input"] and _name(e["loc"]) == name] or [first]
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return UserError(f"{name}={shown(first['input'])}: expected an entry {first['loc'][-1] + 1}")
    if first["type"] == "missing":
        return UserError(f"{name} is missing")
    if first["type"] == "literal_error" and len(same) == 1:
        choices = [choice.strip().strip("'") for choice in _split(first.get("ctx", {}).get("expected", ""))]
        return unknown(name, first["input"], choices)
    expected = " or ".join(dict.fromkeys(_expected(e) for e in same))
    return UserError(f"{name}={shown(first['input'])}: expected {expected}")


def _name(location: tuple[int | str, ...]) -> str:
    """The dotted name of an option; entries of lists and members of unions are left out."""
    parts = []
    for part in location:
        if (
            isinstance(part, int)
            or not part.isidentifier()
            or part in ("str", "int", "float", "bool", "none")
        ):
            break
        parts.append(part)
    return ".".join(parts)


def _expected(error: Any) -> str:
    context = error.get("ctx", {})
    for bound, words in _BOUNDS.items():
        if bound in context:
            return words.format(context[bound])
    if error["type"] == "literal_error":
        return context["expected"].replace("'", "")
    kind = error["type"].partition("_")[0]
    return str(_KINDS.get(kind) or error["msg"])


def _split(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def shown(value: Any) -> str:
    """A value of an option as messages quote it."""
    return str(value) if isinstance(value, str) else json.dumps(value, default=str)
