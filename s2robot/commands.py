"""The commands of `s2robot`: their names, their help, where each is, and how one runs another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from s2robot.core.errors import unknown
from s2robot.utils.allocator import without_collections
from s2robot.utils.lock import hold


@dataclass(frozen=True)
class Command:
    """A stage: its name (and that of its YAML), one line of help, and where it is: `module:function`.

    Attributes:
        group: the heading that `s2robot --help` lists it under.
        first: the options, or groups of options, that matter first: at the top of its own help.
        places: options that are given by place, without their names; one that ends in `...` takes all that
            are left as a list.
        more_help: `module:function` of the text that its help ends with.
        holds_out: its results lie in a folder `out`, in which no other command may be at work.
        resumes: run again with the same options, it goes on where it stopped.
        completed: `module:function` that completes the options by what the files they name say; it takes the
            options and the overrides.
    """

    name: str
    help: str
    target: str
    group: str
    first: tuple[str, ...]
    places: tuple[str, ...] = ()
    more_help: str = ""
    holds_out: bool = False
    resumes: bool = False
    completed: str = ""


_TOOL = "s2robot.data.tools"

COMMANDS = (
    Command(
        "quickstart",
        "Record, encode, train and evaluate in one small run",
        "s2robot.quickstart:main",
        "Start",
        ("out", "episodes", "steps", "workers", "seed"),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "doctor",
        "Check Python, packages, rendering and GPU, and say how to mend them",
        "s2robot.doctor:main",
        "Start",
        ("json", "encoders"),
    ),
    Command(
        "record",
        "Record demos: a scripted expert, or a person at a device",
        "s2robot.record.command:main",
        "Record",
        ("out", "episodes", "env", "teleop", "robot"),
        resumes=True,
    ),
    Command(
        "demos list",
        "List the episodes of a demo store",
        f"{_TOOL}.listing:main",
        "Record",
        ("path", "json"),
        ("path",),
    ),
    Command(
        "demos stats",
        "Show lengths, rates, values and sizes on disk",
        f"{_TOOL}.stats:main",
        "Record",
        ("path", "json"),
        ("path",),
    ),
    Command(
        "demos inspect",
        "Write one HTML page of what a demo store holds",
        f"{_TOOL}.inspection:main",
        "Record",
        ("path", "out", "contact_sheets"),
        ("path",),
    ),
    Command(
        "demos validate",
        "Read every byte of a demo store and report what is damaged",
        f"{_TOOL}.check:validate_store",
        "Record",
        ("path", "json"),
        ("path",),
    ),
    Command(
        "demos repair",
        "Move damaged episodes aside",
        f"{_TOOL}.check:repair_store",
        "Record",
        ("path", "anomalies"),
        ("path",),
    ),
    Command(
        "demos replay",
        "Replay recorded actions in the simulator and compare the outcome",
        f"{_TOOL}.replay:main",
        "Record",
        ("path", "ids", "array", "workers"),
        ("path",),
    ),
    Command(
        "demos drop",
        "Drop episodes from a demo store",
        f"{_TOOL}.edit:drop",
        "Record",
        ("path", "ids"),
        ("path", "ids..."),
    ),
    Command(
        "demos merge",
        "Copy several demo stores into a new one",
        f"{_TOOL}.edit:merge",
        "Record",
        ("stores", "out"),
        ("stores...",),
    ),
    Command(
        "demos split",
        "Split a demo store into two new ones",
        f"{_TOOL}.edit:split",
        "Record",
        ("path", "held_out", "rest", "share", "seed"),
        ("path",),
    ),
    Command(
        "demos trim",
        "Copy a demo store without idle steps",
        f"{_TOOL}.trim:main",
        "Record",
        ("path", "out", "keep", "pause"),
        ("path",),
    ),
    Command(
        "import",
        "Import demos from LeRobot, Diffusion Policy or robomimic",
        "s2robot.data.formats.command:import_demos",
        "Record",
        ("format", "demos", "out", "gripper", "rate"),
        more_help="s2robot.data.formats:import_help",
    ),
    Command(
        "export",
        "Export demos to LeRobot, Diffusion Policy or mp4",
        "s2robot.data.formats.command:export_demos",
        "Record",
        ("format", "demos", "out", "cameras", "episodes"),
        more_help="s2robot.data.formats:export_help",
    ),
    Command(
        "encode",
        "Compute and cache the image features of a demo store",
        "s2robot.vision.cache:main",
        "Train",
        ("demos", "encoder", "encoder.sizes", "cameras", "workers"),
        resumes=True,
        completed="s2robot.vision.cache:with_encoder",
    ),
    Command(
        "train",
        "Train a policy on demos by behaviour cloning",
        "s2robot.train:main",
        "Train",
        ("demos", "out", "init", "steps", "encoder", "cameras"),
        holds_out=True,
        resumes=True,
        completed="s2robot.train.init:with_defaults",
    ),
    Command(
        "sweep",
        "Train many policies that differ in a few options",
        "s2robot.sweep.command:main",
        "Train",
        ("out", "over", "train", "evaluate", "launcher"),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "pretrain",
        "Pre-train an encoder (MAE) on frames of the simulator",
        "s2robot.vision.pretrain.command:main",
        "Train",
        ("out", "encoder", "encoder.sizes", "states", "steps", "batch_size"),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "probe",
        "Measure how well a small head reads positions from features",
        "s2robot.advise.probe:main",
        "Train",
        ("demos", "out", "encoders", "sizes", "camera"),
    ),
    Command(
        "advise",
        "Decide whether a larger vision model is worth it on your frames",
        "s2robot.advise.command:main",
        "Train",
        ("demos", "larger", "small", "out", "camera"),
    ),
    Command(
        "evaluate",
        "Roll out a policy in simulation and record success",
        "s2robot.evaluation.command:main",
        "Evaluate",
        ("checkpoint", "out", "starts", "random_starts", "perturbation", "workers"),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "compare",
        "Compare success rates: paired differences, intervals, tests",
        "s2robot.compare.command:main",
        "Evaluate",
        ("evaluations", "out", "against", "anytime", "confidence"),
        ("evaluations...",),
    ),
    Command(
        "reproduce",
        "Reproduce a published experiment: record, train, evaluate, report",
        "s2robot.reproduce.command:main",
        "Evaluate",
        ("what", "out", "plan_only", "cells", "seeds"),
        ("what",),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "calibrate",
        "Aim a robot's cameras and find its table",
        "s2robot.deploy.calibrate:main",
        "Deploy",
        ("robot", "out", "demos", "touch"),
    ),
    Command(
        "deploy",
        "Run a policy on a robot and record success",
        "s2robot.deploy.command:main",
        "Deploy",
        ("checkpoint", "robot", "out", "starts", "teleop", "dry_run"),
        holds_out=True,
        resumes=True,
    ),
    Command(
        "serve",
        "Serve a policy over a network",
        "s2robot.serve.command:main",
        "Deploy",
        ("checkpoint", "host", "port", "api_key", "keys"),
    ),
    Command(
        "bench",
        "Measure encode, train, rollout, serve and more, or all of them",
        "s2robot.bench.command:main",
        "Tools",
        ("what", "out", "demos", "checkpoint", "encoder"),
        ("what",),
    ),
)
"""By group, within it in the order of use."""

EXAMPLE = (
    "s2robot record episodes=40 out=runs/demos",
    "s2robot train demos=runs/demos out=runs/policy",
    "s2robot evaluate checkpoint=runs/policy out=runs/policy/evaluation",
    "s2robot deploy checkpoint=runs/policy robot=mujoco out=runs/deployed",
)
"""The whole loop."""

FAMILIES = {"demos": "List, inspect, check and edit demo stores"}
"""What the commands have in common that share their first word."""


def find_command(name: str) -> Command:
    """The command of that name. Raises UserError for an unknown one."""
    for command in COMMANDS:
        if command.name == name:
            return command
    family = name.partition(" ")[0]
    beside = [c.name for c in COMMANDS if family in FAMILIES and c.name.startswith(f"{family} ")]
    first = dict.fromkeys(c.name.partition(" ")[0] for c in COMMANDS)
    raise unknown(
        "command", name, beside or first, f"s2robot {family} --help" if beside else "s2robot --help"
    )


def run_command(name: str, overrides: Sequence[str] = ()) -> int:
    """Runs a command in this process as its command line would; returns its exit code."""
    with without_collections():
        function, options = load_command(name, overrides)
    holds_out = find_command(name).holds_out and _leads()
    with hold(options.out, name) if holds_out and options.out else nullcontext():
        return function(options) or 0


def load_command(name: str, overrides: Sequence[str] = ()) -> tuple[Callable[[Any], int | None], Any]:
    """The function of a command, and its options under `name=value` overrides. Runs nothing.

    Raises UserError for overrides that the command line would refuse.
    """
    from s2robot.config import compose  # here, so that `s2robot --help` answers at once
    from s2robot.config.options import options_of, read_options
    from s2robot.config.targets import locate

    command = find_command(name)
    target = command.target
    # Composed before the import, which can take seconds: a typing error shows at once.
    config = compose(name, overrides, options=lambda: options_of(locate(target)))
    function = locate(target)
    options = read_options(options_of(function), config)
    return function, locate(command.completed)(options, overrides) if command.completed else options


def _leads() -> bool:
    """Whether this is the process that writes, of those that `torchrun` or `srun` started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
