"""`s2robot demos COMMAND ...` as a test runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import toy_loop


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    """The exit code and the lines on standard output."""
    capsys.readouterr()
    code = toy_loop.s2robot("demos", *arguments)
    return code, capsys.readouterr().out.splitlines()


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """The exit code and what is printed with `--json`."""
    code, lines = run(capsys, *arguments, "--json")
    return code, json.loads("\n".join(lines))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on standard error with which the command ends."""
    capsys.readouterr()
    assert toy_loop.s2robot("demos", *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("s2robot demos ")]
    return line.partition(": ")[2]
