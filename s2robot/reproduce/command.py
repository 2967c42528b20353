"""`s2robot reproduce WHAT`: every work of a plan, and the report. Run again, it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from s2robot.commands import run_command
from s2robot.core.errors import UserError
from s2robot.reproduce import metaworld5, table10
from s2robot.reproduce.check import check_works
from s2robot.reproduce.experiment import Command, Experiment, Work
from s2robot.reproduce.options import ReproduceOptions
from s2robot.utils.atomic_io import read_json, write_atomic, write_json
from s2robot.utils.hashing import sha256_json

EXPERIMENTS = {"table10": table10.EXPERIMENT, "metaworld5": metaworld5.EXPERIMENT}
_MADE_BY = "made_by.json"  # beside outcomes: what of the options they were made by


def main(options: ReproduceOptions) -> None:
    """Runs what is missing. `results` gets raw outcomes, the commands of all that is there, and `report.md`.

    Raises UserError for outcomes in `results` that were made with other options, and before anything is run
    for options that a stage would refuse.
    """
    experiment = EXPERIMENTS[options.what]
    works = list(experiment.works(options))
    results = Path(options.results)
    left = [work for work in works if not is_done(work, results)]
    if options.plan_only:
        print("\n".join(_overview(works, left)))
    check_works(left)
    if options.plan_only:
        return
    commands = _once([*_made_before(experiment, results, options), *works])
    write_atomic(results / "commands.txt", "".join(f"{command}\n" for command in commands))
    for number, work in enumerate(left, start=1):
        print(f"== {work.name}: {number} of {len(left)} that are left", flush=True)
        _run(work)
        _publish(work, results)
        experiment.write_report(results)
    experiment.write_report(results)
    print(f"{len(works)} of {len(works)} done: open {results / 'report.md'}")


def is_done(work: Work, results: Path) -> bool:
    """Whether the raw outcomes are there, made anywhere. Raises UserError for those of other options."""
    if not (results / f"{work.name}.json").is_file():
        return False
    if _read(results / _MADE_BY).get(work.name) != _identity(work):
        raise UserError(
            f"{results} holds {work.name}, made with other options: give the same, or another results="
        )
    return True


def _run(work: Work) -> None:
    """The stages. Each goes on by itself where it stopped, and has nothing to do where it is complete."""
    stamp = work.evaluation / _MADE_BY
    if stamp.is_file() and stamp.read_text().strip() != f'"{_identity(work)}"':
        raise UserError(f"{work.evaluation} was begun with other options: give the same, or another out=")
    write_json(stamp, _identity(work))
    for command in work.commands():
        if command.name == "evaluate" and (work.evaluation / "evaluation.json").is_file():
            continue
        print(f"== {command}", flush=True)
        run_command(command.name, list(command.overrides))


def _publish(work: Work, results: Path) -> None:
    """The raw outcomes, byte for byte, once it is written by what they were made."""
    write_json(results / _MADE_BY, _read(results / _MADE_BY) | {work.name: _identity(work)})
    write_atomic(results / f"{work.name}.json", (work.evaluation / "evaluation.json").read_bytes())


def _made_before(experiment: Experiment, results: Path, options: ReproduceOptions) -> list[Work]:
    """What lies in `results` and was made with these options, in the order in which it came."""
    made_by = _read(results / _MADE_BY)
    works = [work for name in made_by if (work := experiment.find(name, options)) is not None]
    return [work for work in works if made_by[work.name] == _identity(work)]


def _read(file: Path) -> dict[str, Any]:
    return read_json(file, "put back what it held, or give another folder") if file.is_file() else {}


def _identity(work: Work) -> str:
    """Of all commands to the outcomes, without what changes nothing: folders and processes."""
    anywhere = work.with_options(replace(work.options, out="OUT"))
    processes = ("workers=", "encode_workers=", "step_timeout=", "start_timeout=")
    commands = [
        [c.name, *(o for o in c.overrides if not o.startswith(processes))] for c in anywhere.commands()
    ]
    return sha256_json(commands)


def _once(works: list[Work]) -> list[Command]:
    """Every command, in order, those that several arms share once."""
    return list(dict.fromkeys(command for work in works for command in work.commands()))


def _overview(works: list[Work], left: list[Work]) -> list[str]:
    lines = [f"{'left' if work in left else 'done'}  {work.name}" for work in works]
    return [*lines, f"{len(works) - len(left)} of {len(works)} done", *map(str, _once(left))]
