"""Every command receives one typed dataclass, whose fields are the options of its YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_type_hints

import pytest
from mistakes import refusal
from omegaconf import OmegaConf

from s2robot.commands import COMMANDS, Command
from s2robot.config import compose
from s2robot.config.defaults import load_defaults
from s2robot.config.options import (
    Count,
    NonNegative,
    Positive,
    Share,
    ShareBelowOne,
    gathers,
    holds_text,
    options_of,
    read_options,
    to_plain,
)
from s2robot.config.targets import locate
from s2robot.vision.cache import EncodeOptions


@dataclass(frozen=True)
class Section:
    """A section of options."""

    success: bool | None


@dataclass(frozen=True)
class Options:
    """Options of a command that there is not."""

    demos: str | tuple[str, ...]
    steps: Count
    lr: Positive
    head: Literal["l1", "flow"]
    filter: Section
    env: Mapping[str, Any]
    sizes: tuple[tuple[Count, ...], ...]


GOOD = {
    "demos": ["a", "b"],
    "steps": 3,
    "lr": 1,
    "head": "l1",
    "filter": {"success": None},
    "env": {"a": [1]},
    "sizes": [[224], [224, 448]],
}


def test_lists_become_tuples_and_sections_dataclasses() -> None:
    options = read_options(Options, OmegaConf.create(GOOD))
    assert options == Options(("a", "b"), 3, 1.0, "l1", Section(None), {"a": [1]}, ((224,), (224, 448)))
    assert to_plain(options) == GOOD


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("steps", 0, "steps=0: expected 1 or more"),
        ("steps", None, "steps=null: expected a whole number"),
        ("steps", 1.5, "steps=1.5: expected a whole number"),
        ("lr", 0, "lr=0: expected more than 0"),
        ("head", "flw", "unknown head 'flw': did you mean 'flow'? valid: l1, flow"),
        ("filter", {"success": 1}, "filter.success=1: expected true or false"),
        ("filter", 3, "filter=3: expected a section"),
        ("sizes", [[0]], "sizes=0: expected 1 or more"),
        ("demos", 3, "demos=3: expected text or a list"),
    ],
)
def test_what_does_not_fit_is_one_line(option: str, value: Any, said: str) -> None:
    assert refusal(lambda: read_options(Options, GOOD | {option: value})) == said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_options_of_a_command_are_those_of_its_yaml(command: Command) -> None:
    cls = options_of(locate(command.target))
    config = OmegaConf.to_container(load_defaults(command.name).config, resolve=False)
    assert list(_differences(cls, config, command.name)) == []


def _differences(cls: type, section: Any, name: str) -> Iterator[str]:
    """Names that only the dataclass or only the YAML has."""
    if gathers(cls) or "_target_" in section:
        return  # its section holds the options of a part too, by its own rules
    own = {field.name for field in fields(cls)}
    yield from (f"{name}.{key}" for key in own.symmetric_difference(section))
    for key, hint in get_type_hints(cls).items():
        for inner in (hint, *get_args(hint)):
            if is_dataclass(inner) and isinstance(section.get(key), dict):
                yield from _differences(inner, section[key], f"{name}.{key}")  # type: ignore[arg-type]


TEXT = "a, b={c} 'd' ${e} [f"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_of_type_str_takes_any_text(command: Command) -> None:
    cls, defaults = options_of(locate(command.target)), load_defaults(command.name)
    texts = [name for name in defaults.options() if holds_text(cls, name, TEXT)]
    required = [f"{n}=[x]" for n in defaults.options() if defaults.must_be_given(n) and n not in texts]
    given = [*required, *(f"{name}={TEXT}" for name in texts)]
    config = compose(command.name, given, options=lambda: cls)
    assert {name: OmegaConf.select(config, name) for name in texts} == dict.fromkeys(texts, TEXT)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_an_option_that_is_added_and_unknown_is_refused(command: Command) -> None:
    cls, defaults = options_of(locate(command.target)), load_defaults(command.name)
    given = [f"{name}=x" for name in defaults.options() if defaults.must_be_given(name)]
    config = compose(command.name, [*given, "+bogus=3"], options=lambda: cls)
    assert refusal(lambda: read_options(cls, config)).startswith("unknown option 'bogus': ")


@dataclass(frozen=True)
class Numbers:
    positive: Positive
    non_negative: NonNegative
    share: Share
    share_below_one: ShareBelowOne


WITHIN = {"positive": 0.5, "non_negative": 0.0, "share": 1.0, "share_below_one": 0.0}


def test_values_within_their_bounds_are_taken() -> None:
    assert read_options(Numbers, WITHIN) == Numbers(0.5, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("name", WITHIN)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused(name: str, value: float) -> None:
    said = refusal(lambda: read_options(Numbers, WITHIN | {name: value}))
    assert said.startswith(f"{name}=") and said.endswith(": expected a finite number")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("positive", 0.0, "positive=0.0: expected more than 0"),
        ("non_negative", -0.1, "non_negative=-0.1: expected 0 or more"),
        ("share", 1.1, "share=1.1: expected at most 1"),
        ("share_below_one", 1.0, "share_below_one=1.0: expected less than 1"),
        ("share_below_one", -0.1, "share_below_one=-0.1: expected 0 or more"),
    ],
)
def test_a_bound_is_named(name: str, value: float, expected: str) -> None:
    assert refusal(lambda: read_options(Numbers, WITHIN | {name: value})) == expected


@pytest.mark.parametrize(
    ("given", "read"), [("-1", -1), ("[28,28]", (28, 28)), ("[28]", None), ("fine", None), ("[0,2]", None)]
)
def test_a_grid_of_patches_is_an_index_or_rows_and_columns(given: str, read: Any) -> None:
    def taken() -> Any:
        overrides = ["demos=x", f"encoder.resize_to={given}"]
        return read_options(EncodeOptions, compose("encode", overrides)).encoder.resize_to

    if read is None:
        assert "encoder.resize_to" in refusal(taken)
    else:
        assert taken() == read
