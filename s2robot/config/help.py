"""`s2robot COMMAND --help`: every option with its default and the comment beside it in the YAML."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from s2robot.commands import Command
from s2robot.config.comments import head_comment
from s2robot.config.compose import chosen_defaults, metavar
from s2robot.config.defaults import Defaults, section_of
from s2robot.config.overrides import as_override

Row = tuple[str, str]
"""What one types, and what it means."""

_MAX_VALUE = 70
_MAX_NAME = 36  # columns: a longer option has a line of its own


def command_help(command: Command, overrides: Sequence[str] = (), folder: Path | None = None) -> str:
    """The help page of a command: what it does, the options that matter first, then all others.

    The options of the groups that the overrides choose are shown; the comment that opens the YAML file
    gives the description and the examples. Raises UserError as `compose`.
    """
    defaults = chosen_defaults(command.name, overrides, folder)
    own, grouped = _by_group(defaults)
    comments = defaults.comments()

    first = {name: _matching(name, defaults) for name in command.first}
    shown = {option for options in first.values() for option in options}

    def rows(names: Sequence[str]) -> list[Row]:
        return [_row(name, defaults, comments) for name in names if name not in shown]

    tables = {"options:": [r for name in first for r in _first_rows(name, first[name], defaults, comments)]}
    tables["more options:"] = rows(own)
    for group, names in grouped.items():
        tables[f"{group}, one of:"] = _choices(group, defaults)
        tables[f"options of {group}={defaults.groups[group]}:"] = rows(names)
    about, examples = _described(head_comment(defaults.path))
    usage = " ".join(["usage: s2robot", command.name, *map(str.upper, command.places), "[option=value ...]"])
    head = [about or f"{command.help}.", f"{usage}\nexample: {examples[0]}" if examples else usage]
    more = ["\n".join(["more examples:", *(f"  {line}" for line in examples[1:])])] if examples[1:] else []
    return "\n\n".join([*head, *_render(tables), *more])


def _described(comment: str) -> tuple[str, list[str]]:
    """The opening comment as the text that describes the command, and the lines of its examples."""
    about, *rest = comment.strip().split("\n\n", 1)
    examples = [line.strip() for line in "\n".join(rest).splitlines() if line.startswith("  ")]
    return about, examples


def _matching(name: str, defaults: Defaults) -> list[str]:
    """The option of that name, or those of the section of that name; none of a group's."""
    inside = (option for option in defaults.options() if f"{option}.".startswith(f"{name}."))
    return [] if name in defaults.groups else list(inside)


def _first_rows(
    name: str, options: Sequence[str], defaults: Defaults, comments: Mapping[str, str]
) -> list[Row]:
    """Rows of the options, or the one of a group with its choice."""
    if name not in defaults.groups:
        return [_row(option, defaults, comments) for option in options]
    choices = f"one of {', '.join(defaults.choices(name))}"
    return [(f"{name}={defaults.groups[name] or 'null'}", comments.get(name) or choices)]


def _by_group(defaults: Defaults) -> tuple[list[str], dict[str, list[str]]]:
    """The command's own options, and those that each group brings."""
    grouped: dict[str, list[str]] = {group: [] for group in defaults.groups}
    own = []
    for name in defaults.options():
        inside = [group for group in grouped if name.startswith(f"{section_of(group)}.")]
        group = max(inside, key=lambda group: len(section_of(group)), default=None)
        (own if group is None else grouped[group]).append(name)
    return own, grouped


def _choices(group: str, defaults: Defaults) -> list[Row]:
    return [(f"{group}={name}", _first_line(path)) for name, path in defaults.choices(group).items()]


def _first_line(path: Path) -> str:
    lines = [line for line in head_comment(path).splitlines() if line and not line.startswith("@package")]
    return lines[0] if lines else ""


def _row(name: str, defaults: Defaults, comments: Mapping[str, str]) -> Row:
    comment = comments.get(name, "")
    if defaults.must_be_given(name):
        return f"{name}={metavar(comment)}", f"{comment} (must be given)".strip()
    return f"{name}={_shortened(as_override(defaults.value(name)))}", comment


def _shortened(value: str) -> str:
    """A long list by its first entries."""
    if len(value) <= _MAX_VALUE or not value.startswith("["):
        return value
    return value[:_MAX_VALUE].rpartition(",")[0] + ",...]"


def _render(tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Titled tables, the texts of all of them in one column."""
    lengths = [len(name) for rows in tables.values() for name, _ in rows]
    width = max((length for length in lengths if length <= _MAX_NAME), default=0)
    for title, rows in tables.items():
        if rows:
            yield "\n".join([title, *(line for name, text in rows for line in _lines(name, text, width))])


def _lines(name: str, text: str, width: int) -> Iterator[str]:
    """One row: the name, then the text wrapped beside it, or below it where the name is long."""
    indent = " " * (2 + width + 2)
    columns = max(shutil.get_terminal_size().columns, 80)
    wrapped = textwrap.wrap(text, columns - len(indent))
    beside = wrapped.pop(0) if wrapped and len(name) <= width else ""
    yield f"  {name:{width}}  {beside}".rstrip()
    yield from (indent + line for line in wrapped)
