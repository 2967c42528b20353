"""`s2robot VERB [option=value ...]`: one verb a stage, each a function of the composed configuration.

A verb may have two words (`demos list`); those that share the first are a family.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from s2robot import __version__
from s2robot.core.errors import UserError, unknown
from s2robot.utils.allocator import keep_freed_memory


@dataclass(frozen=True)
class Verb:
    """A stage: its name (and that of its YAML), one line of help, and where it is: `module:function`.

    Attributes:
        places: options that are given by place, without their names; one that ends in `...` takes all that
            are left as a list.
    """

    name: str
    help: str
    target: str
    places: tuple[str, ...] = ()


_TOOL = "s2robot.data.tools"

VERBS = (
    Verb("quickstart", "record, encode, train and evaluate in one small run", "s2robot.quickstart:main"),
    Verb("doctor", "check Python, packages, rendering and processor; say how to mend", "s2robot.doctor:main"),
    Verb("record", "record demos into a store", "s2robot.record.command:main"),
    Verb("demos list", "the episodes of a store, one line each", f"{_TOOL}.listing:main", ("path",)),
    Verb("demos stats", "lengths, rates, values and sizes on disk", f"{_TOOL}.stats:main", ("path",)),
    Verb("demos inspect", "one page that shows what a store holds", f"{_TOOL}.inspection:main", ("path",)),
    Verb(
        "demos validate", "read every byte and say what is wrong", f"{_TOOL}.check:validate_store", ("path",)
    ),
    Verb("demos repair", "move broken episodes aside", f"{_TOOL}.check:repair_store", ("path",)),
    Verb("demos replay", "act what was recorded in the simulator again", f"{_TOOL}.replay:main", ("path",)),
    Verb("demos drop", "hide episodes for good", f"{_TOOL}.edit:drop", ("path", "ids...")),
    Verb("demos merge", "several stores into a new one", f"{_TOOL}.edit:merge", ("stores...",)),
    Verb("demos split", "a store into two new ones", f"{_TOOL}.edit:split", ("path",)),
    Verb("export", "write demos in a format of others", "s2robot.data.formats.command:export_demos"),
    Verb("import", "make a demo store of what others recorded", "s2robot.data.formats.command:import_demos"),
    Verb("encode", "compute the features of a demo store, once", "s2robot.vision.cache:main"),
    Verb("pretrain", "train an encoder on frames of the simulator", "s2robot.vision.pretrain.command:main"),
    Verb("probe", "how well features tell where the cube is", "s2robot.advise.probe:main"),
    Verb("advise", "is a larger vision model worth it on your frames?", "s2robot.advise.command:main"),
    Verb("train", "train a policy on demos", "s2robot.train:main"),
    Verb("sweep", "train many policies that differ in a few options", "s2robot.sweep.command:main"),
    Verb("evaluate", "count the cubes that a policy picks up", "s2robot.evaluation.command:main"),
    Verb(
        "compare",
        "tell evaluations apart, or say why not",
        "s2robot.compare.command:main",
        ("evaluations...",),
    ),
    Verb("calibrate", "aim a robot's cameras, find its table", "s2robot.deploy.calibrate:main"),
    Verb("deploy", "let a policy drive a robot, and count", "s2robot.deploy.command:main"),
    Verb("reproduce", "run an experiment of many arms", "s2robot.reproduce.command:main", ("what",)),
    Verb("serve", "answer a policy over a network", "s2robot.serve.command:main"),
    Verb(
        "bench encode", "frames a second and latency of S², beside a plain loop", "s2robot.bench.encode:main"
    ),
    Verb("bench disk", "writing a demo, and listing a thousand", "s2robot.bench.disk:main"),
    Verb("bench rollout", "where a rollout's time goes; 2 workers against 1", "s2robot.bench.rollout:main"),
    Verb("bench train", "training by parts: data path, cache, encoder", "s2robot.bench.train:main"),
    Verb("bench processes", "one training on one process and on several", "s2robot.bench.processes:main"),
    Verb("bench store", "windows a second from stores, beside other layouts", "s2robot.bench.store:main"),
)
"""In the order of the pipeline."""

FAMILIES = {"demos": "look after a demo store", "bench": "measure ourselves beside others"}
"""What the verbs have in common that share their first word."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `s2robot` with these arguments (the process's own where None) and returns its exit code.

    A user's mistake is one line on stderr and 2, Ctrl-C is 130; a bug keeps its traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"s2robot {__version__}")
        return 0
    if arguments[0] in FAMILIES and arguments[1:] in ([], ["-h"], ["--help"]):
        print(overview(arguments[0]))
        return 0
    words = 2 if arguments[0] in FAMILIES else 1
    return _guarded(" ".join(arguments[:words]), arguments[words:])


def overview(family: str | None = None) -> str:
    """The verbs, one line each, a family as one; or those of one family."""
    rows: dict[str, str] = {}
    for verb in VERBS:
        first, _, second = verb.name.partition(" ")
        if family is None and second:
            rows[f"{first} VERB"] = FAMILIES[first]
        elif family in (None, first):
            rows[verb.name] = verb.help
    width = max(map(len, rows))
    verbs = "\n".join(f"  {name:{width}}  {text}" for name, text in rows.items())
    command = "s2robot VERB" if family is None else f"s2robot {family} VERB"
    more = f"{command} --help lists the options of a verb with their defaults and units."
    return f"usage: {command} [option=value ...]\n\n{verbs}\n\n{more}"


def run(verb: Verb, arguments: Sequence[str]) -> int:
    """Runs one verb, or shows its help. Raises UserError for a mistake in the arguments."""
    from s2robot.config import compose  # here, so that `s2robot --help` answers at once
    from s2robot.config.defaults import load_defaults
    from s2robot.config.help import verb_help
    from s2robot.config.overrides import place, undash
    from s2robot.config.targets import locate

    def takes_value(option: str) -> bool:
        return load_defaults(verb.name).takes_value(option)

    overrides = place(undash([a for a in arguments if a not in ("-h", "--help")], takes_value), verb.places)
    if {"-h", "--help"} & set(arguments):
        print(verb_help(verb.name, verb.help, overrides, places=verb.places))
        return 0
    config = compose(verb.name, overrides)  # before the import: a typing error is told within a second
    keep_freed_memory()
    stage: Callable[[Any], int | None] = locate(verb.target)
    return stage(config) or 0


def _guarded(name: str, arguments: Sequence[str]) -> int:
    try:
        code = run(_find(name), arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough; Python would complain of it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UserError as error:
        if os.environ.get("S2ROBOT_DEBUG") == "1":
            raise
        print(f"s2robot {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _find(name: str) -> Verb:
    for verb in VERBS:
        if verb.name == name:
            return verb
    family = name.partition(" ")[0]
    beside = [verb.name for verb in VERBS if family in FAMILIES and verb.name.startswith(f"{family} ")]
    raise unknown("verb", name, beside or dict.fromkeys(verb.name.partition(" ")[0] for verb in VERBS))


if __name__ == "__main__":
    sys.exit(main())
