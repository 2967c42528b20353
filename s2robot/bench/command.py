"""`s2robot bench`: one measurement, what it was made on, and what it found, as JSON and in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from s2robot.bench.options import BenchOptions
from s2robot.config.checks import check_file
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import git_state, machine, versions

Measured = tuple[dict[str, Any], Iterable[str]]
"""What the file holds, and lines for the terminal."""


def main(options: BenchOptions) -> None:
    """Measures, writes `out` and prints. Raises UserError as the part `what` does."""
    check_file(options.out, options.overwrite)
    part: Callable[[BenchOptions], Measured] = import_module(f"s2robot.bench.{options.what}").measure
    result, lines = part(options)
    origin = {"machine": machine(), "versions": versions(), "git": git_state()}
    write_json(options.out, result | origin)
    print(*lines, sep="\n")
