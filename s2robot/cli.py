"""`s2robot VERB [option=value ...]`: one verb a stage, each a function of the composed configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from s2robot import __version__
from s2robot.allocator import keep_freed_memory
from s2robot.errors import UserError, unknown


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


VERBS = (
    Verb("quickstart", "record, encode, train and evaluate in one small run", "s2robot.quickstart:main"),
    Verb("doctor", "check Python, packages, rendering and processor; say how to mend", "s2robot.doctor:main"),
    Verb("record", "record demos into a store", "demos.record:main"),
    Verb("export", "write demos in a format of others", "s2robot.data.exchange.verbs:export_demos"),
    Verb("import", "make a demo store of what others recorded", "s2robot.data.exchange.verbs:import_demos"),
    Verb("encode", "compute the features of a demo store, once", "s2robot.vision.cache:main"),
    Verb("pretrain", "train an encoder on frames of the simulator", "s2robot.vision.pretrain:main"),
    Verb("probe", "how well features tell where the cube is", "s2robot.probe:main"),
    Verb("advise", "is a larger vision model worth it on your frames?", "s2robot.advise.verb:main"),
    Verb("train", "train a policy on demos", "s2robot.train:main"),
    Verb("evaluate", "count the cubes that a policy picks up", "s2robot.evaluate:main"),
    Verb(
        "compare", "tell evaluations apart, or say why not", "s2robot.compare.verb:main", ("evaluations...",)
    ),
    Verb("serve", "answer a policy over a network", "s2robot.serve.main:main"),
    Verb("bench", "measure ourselves beside others", "s2robot.bench.main:main"),
)
"""In the order of the pipeline."""


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
    return _guarded(arguments[0], arguments[1:])


def overview() -> str:
    """The verbs, one line each."""
    width = max(len(verb.name) for verb in VERBS)
    verbs = "\n".join(f"  {verb.name:{width}}  {verb.help}" for verb in VERBS)
    more = "s2robot VERB --help lists the options of a verb with their defaults and units."
    return f"usage: s2robot VERB [option=value ...]\n\n{verbs}\n\n{more}"


def run(verb: Verb, arguments: Sequence[str]) -> int:
    """Runs one verb, or shows its help. Raises UserError for a mistake in the arguments."""
    from s2robot.config import compose  # here, so that `s2robot --help` answers at once
    from s2robot.config.help import verb_help
    from s2robot.config.overrides import place
    from s2robot.config.targets import locate

    overrides = place([_as_override(a) for a in arguments if a not in ("-h", "--help")], verb.places)
    if {"-h", "--help"} & set(arguments):
        print(verb_help(verb.name, verb.help, overrides, places=verb.places))
        return 0
    config = compose(verb.name, overrides)  # before the import: a typing error is told within a second
    keep_freed_memory()
    stage: Callable[[Any], int | None] = locate(verb.target)
    return stage(config) or 0


def _guarded(name: str, arguments: Sequence[str]) -> int:
    try:
        return run(_find(name), arguments)
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
    raise unknown("verb", name, [verb.name for verb in VERBS])


def _as_override(argument: str) -> str:
    """`--json` and `--steps=5` are read as `json=true` and `steps=5`."""
    bare = argument.removeprefix("--")
    return bare if bare == argument or "=" in bare else f"{bare}=true"


if __name__ == "__main__":
    sys.exit(main())
