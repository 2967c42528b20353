"""The comments of a YAML file: the help texts of `s2robot COMMAND --help`, written beside the values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import yaml


def head_comment(path: Path) -> str:
    """The comment that opens a file, up to the first line that is none."""
    return "\n".join(_uncommented(line) for line in _head(path.read_text().splitlines()))


def comments(path: Path) -> dict[str, str]:
    """Dotted key -> the comment above it and the one behind its value, which may go on in the lines below."""
    text = path.read_text()
    lines = text.splitlines()
    first = len(_head(lines))  # the comment that opens the file belongs to no key
    root = yaml.compose(text)
    return dict(_of_keys(root, lines, first, "")) if isinstance(root, yaml.MappingNode) else {}


def _head(lines: list[str]) -> list[str]:
    return list(takewhile(lambda line: line.startswith("#"), lines))


def _of_keys(node: yaml.MappingNode, lines: list[str], first: int, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        block = isinstance(value, yaml.CollectionNode) and not value.flow_style
        end = key.end_mark if block else value.end_mark
        parts = [*_above(lines, first, key.start_mark), *_behind(lines, end)]
        yield name, " ".join(parts)
        if block and isinstance(value, yaml.MappingNode):
            yield from _of_keys(value, lines, first, name + ".")


def _above(lines: list[str], first: int, mark: yaml.Mark) -> list[str]:
    """The comment lines directly above a key, as deep as the key."""
    opening = " " * mark.column + "#"
    above = takewhile(lambda line: line.startswith(opening), reversed(lines[first : mark.line]))
    return [_uncommented(line) for line in above][::-1]


def _behind(lines: list[str], mark: yaml.Mark) -> list[str]:
    """The comment behind a value and the lines below that start where it starts."""
    if mark.line >= len(lines):
        return []
    rest = lines[mark.line][mark.column :]
    comment = rest.lstrip(" :")
    if not comment.startswith("#"):
        return []
    opening = " " * (mark.column + len(rest) - len(comment)) + "#"
    below = takewhile(lambda line: line.startswith(opening), lines[mark.line + 1 :])
    return [_uncommented(line) for line in (comment, *below)]


def _uncommented(line: str) -> str:
    return line.strip().removeprefix("#").removeprefix(" ")
