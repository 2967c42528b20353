"""`s2robot sweep`: Hydra's multirun over `s2robot train`, here or, through submitit, on a Slurm cluster."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import hydra

from s2robot.commands import load_command
from s2robot.config.defaults import config_folder
from s2robot.config.overrides import parse, quoted
from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.data.tools.table import table
from s2robot.sweep.job import run_job
from s2robot.sweep.table import cells, collect, write_results

LAUNCHERS = {"basic": "basic", "local": "submitit_local", "slurm": "submitit_slurm"}
"""The value of `launcher`, and the name that Hydra knows it by."""


@dataclass(frozen=True)
class SweepOptions:
    """Of one sweep; the meanings are the comments of `configs/sweep.yaml`."""

    out: str
    over: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...] | None
    launcher: Literal["basic", "local", "slurm"]
    options: tuple[str, ...]


def main(options: SweepOptions) -> int:
    """Runs every combination, prints the table; 1 where a job ended with a mistake."""
    varied, jobs = check_sweep(options)
    out = Path(options.out).resolve()
    with disk_errors(f"write to {out}"):
        out.mkdir(parents=True, exist_ok=True)
    with _arguments(["s2robot sweep", *hydra_arguments(options, out)]):
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")(run_job)()
    rows = collect(out, varied, jobs)
    write_results(out, rows)
    print(table(list(rows[0]), cells(rows)))
    return int(any(row["error"] for row in rows))


def check_sweep(options: SweepOptions) -> tuple[list[str], int]:
    """The names of the options that vary, and how many jobs that makes.

    Raises UserError for a mistake in any value before any job runs.
    """
    if options.launcher != "basic" and not importlib.util.find_spec("submitit"):
        raise UserError(f'launcher={options.launcher} needs submitit: pip install "s2robot[slurm]"')
    if not options.over:
        raise UserError('over=[]: name options of train with their values, e.g. over=["seed=0,1,2"]')
    fixed = [f"out={options.out}", *options.train]
    names, jobs = [], 1
    for text in options.over:
        name, values = text.partition("=")[0], _values(text)
        for value in values:
            load_command("train", [*fixed, f"{name}={value}"])
        names.append(name)
        jobs *= len(values)
    if options.evaluate is not None:
        load_command("evaluate", ["checkpoint=policy", "out=evaluation", *options.evaluate])
    return names, jobs


def hydra_arguments(options: SweepOptions, out: Path) -> list[str]:
    """The arguments of Hydra's multirun: every job has a folder in `out`, named by its number."""
    evaluation = [] if options.evaluate is None else [f"+evaluation={_listed(options.evaluate)}"]
    launcher = [f"hydra.launcher.{option}" for option in options.options]
    return [
        *("--multirun", f"hydra.sweep.dir={out}", "hydra.sweep.subdir=${hydra.job.num}"),
        f"hydra/launcher={LAUNCHERS[options.launcher]}",
        *(*launcher, f"+common={_listed(options.train)}", *options.over, *evaluation),
    ]


def _values(text: str) -> list[str]:
    """Those of `name=a,b,c` or `name=range(0,3)`. Raises UserError where there is but one."""
    override = parse(text)
    if not override.is_sweep_override():
        raise UserError(f"over: {text}: expected several values, name=a,b")
    return list(override.sweep_string_iterator())


def _listed(texts: Sequence[str]) -> str:
    return f"[{','.join(map(quoted, texts))}]"


@contextmanager
def _arguments(given: list[str]) -> Iterator[None]:
    """Hydra takes its arguments from the command line alone."""
    before, sys.argv = sys.argv, given
    try:
        yield
    finally:
        sys.argv = before
