"""The commands of `s2robot`: their names, their help, where each is, and how one runs another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from s2robot.core.errors import unknown
from s2robot.utils.lock import hold


@dataclass(frozen=True)
class Command:
    """A stage: its name (and that of its YAML), one line of help, and where it is: `module:function`.

    Attributes:
        places: options that are given by place, without their names; one that ends in `...` takes all that
            are left as a list.
        more_help: `module:function` of the text that its help ends with.
        holds_out: its results lie in a folder `out`, in which no other command may be at work.
    """

    name: str
    help: str
    target: str
    places: tuple[str, ...] = ()
    more_help: str = ""
    holds_out: bool = False


_TOOL = "s2robot.data.tools"

COMMANDS = (
    Command(
        "quickstart",
        "record, encode, train and evaluate in one small run",
        "s2robot.quickstart:main",
        holds_out=True,
    ),
    Command(
        "doctor", "check Python, packages, rendering and processor; say how to mend", "s2robot.doctor:main"
    ),
    Command("record", "record demos into a store", "s2robot.record.command:main"),
    Command("demos list", "the episodes of a store, one line each", f"{_TOOL}.listing:main", ("path",)),
    Command("demos stats", "lengths, rates, values and sizes on disk", f"{_TOOL}.stats:main", ("path",)),
    Command("demos inspect", "one page that shows what a store holds", f"{_TOOL}.inspection:main", ("path",)),
    Command(
        "demos validate",
        "read every byte of a store and report what is damaged",
        f"{_TOOL}.check:validate_store",
        ("path",),
    ),
    Command("demos repair", "move broken episodes aside", f"{_TOOL}.check:repair_store", ("path",)),
    Command(
        "demos replay",
        "repeat recorded actions in the simulator and compare the outcome",
        f"{_TOOL}.replay:main",
        ("path",),
    ),
    Command("demos drop", "drop episodes from a store", f"{_TOOL}.edit:drop", ("path", "ids...")),
    Command("demos merge", "several stores into a new one", f"{_TOOL}.edit:merge", ("stores...",)),
    Command("demos split", "a store into two new ones", f"{_TOOL}.edit:split", ("path",)),
    Command(
        "export",
        "write demos in another format",
        "s2robot.data.formats.command:export_demos",
        more_help="s2robot.data.formats:export_help",
    ),
    Command(
        "import",
        "make a demo store from another format",
        "s2robot.data.formats.command:import_demos",
        more_help="s2robot.data.formats:import_help",
    ),
    Command("encode", "compute the features of a demo store, once", "s2robot.vision.cache:main"),
    Command(
        "pretrain",
        "train an encoder on frames of the simulator",
        "s2robot.vision.pretrain.command:main",
        holds_out=True,
    ),
    Command("probe", "how well a small head reads positions from features", "s2robot.advise.probe:main"),
    Command("advise", "is a larger vision model worth it on your frames?", "s2robot.advise.command:main"),
    Command("train", "train a policy on demos", "s2robot.train:main", holds_out=True),
    Command(
        "sweep",
        "train many policies that differ in a few options",
        "s2robot.sweep.command:main",
        holds_out=True,
    ),
    Command(
        "evaluate",
        "roll a policy out from the task's starts and count its successes",
        "s2robot.evaluation.command:main",
        holds_out=True,
    ),
    Command(
        "compare",
        "compare success rates: paired differences, intervals, tests",
        "s2robot.compare.command:main",
        ("evaluations...",),
    ),
    Command("calibrate", "aim a robot's cameras, find its table", "s2robot.deploy.calibrate:main"),
    Command(
        "deploy", "run a policy on a robot and record success", "s2robot.deploy.command:main", holds_out=True
    ),
    Command(
        "reproduce",
        "run a published experiment: record, train and evaluate all of it",
        "s2robot.reproduce.command:main",
        ("what",),
        holds_out=True,
    ),
    Command("serve", "serve a policy over a network", "s2robot.serve.command:main"),
    Command(
        "bench",
        "measure speed: encode, disk, rollout, train, processes, store",
        "s2robot.bench.command:main",
        ("what",),
    ),
)
"""In the order of the pipeline."""

FAMILIES = {"demos": "inspect and edit demo stores"}
"""What the commands have in common that share their first word."""


def find_command(name: str) -> Command:
    """The command of that name. Raises UserError for an unknown one."""
    for command in COMMANDS:
        if command.name == name:
            return command
    family = name.partition(" ")[0]
    beside = [c.name for c in COMMANDS if family in FAMILIES and c.name.startswith(f"{family} ")]
    raise unknown("command", name, beside or dict.fromkeys(c.name.partition(" ")[0] for c in COMMANDS))


def run_command(name: str, overrides: Sequence[str] = ()) -> int:
    """Runs a command in this process as its command line would; returns its exit code."""
    from s2robot.config import compose  # here, so that `s2robot --help` answers at once
    from s2robot.config.options import options_of, read_options
    from s2robot.config.targets import locate

    command = find_command(name)
    config = compose(name, overrides)  # before the import: a typing error shows within a second
    function = locate(command.target)
    options = read_options(options_of(function), config)
    with hold(options.out, name) if command.holds_out and _leads() and options.out else nullcontext():
        return function(options) or 0


def _leads() -> bool:
    """Whether this is the process that writes, of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
