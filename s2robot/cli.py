"""`s2robot COMMAND [option=value ...]`: the command line.

A command may have two words (`demos list`); those that share the first are a family.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from s2robot import __version__
from s2robot.commands import COMMANDS, EXAMPLE, FAMILIES, Command, find_command, run_command
from s2robot.core.errors import UserError
from s2robot.utils.allocator import keep_freed_memory
from s2robot.utils.openmp import bound_spinning
from s2robot.utils.signals import Terminated, terminable


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `s2robot` with these arguments (the process's own where None) and returns its exit code.

    A user's mistake is one line on stderr and 2, Ctrl-C is 130, SIGTERM 143, SIGHUP 129; a bug keeps its
    traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _with_own_folders(arguments)
    except UserError as error:
        print(f"s2robot: {error}", file=sys.stderr)
        return 2
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
    """The commands by group, one line each, a family as one; or those of one family."""
    groups: dict[str, dict[str, str]] = {}
    for command in COMMANDS:
        first, _, second = command.name.partition(" ")
        if family is None:
            name, text = (f"{first} COMMAND", FAMILIES[first]) if second else (first, command.help)
            groups.setdefault(command.group, {})[name] = text
        elif family == first:
            groups.setdefault(FAMILIES[first], {})[command.name] = command.help
    width = max(len(name) for rows in groups.values() for name in rows)
    tables = [
        "\n".join([f"{title}:", *(f"  {name:{width}}  {text}" for name, text in rows.items())])
        for title, rows in groups.items()
    ]
    usage = "s2robot COMMAND" if family is None else f"s2robot {family} COMMAND"
    more = [
        f"{usage} --help lists the options of a command with their defaults and units.",
        "--config-dir FOLDER adds your own env/, task/, encoder/, ... to ours (docs/extending.md).",
    ]
    example = ["Example:\n" + "\n".join(f"  {line}" for line in EXAMPLE)] if family is None else []
    return "\n\n".join([f"usage: {usage} [option=value ...]", *tables, "\n".join(more), *example])


def run(command: Command, arguments: Sequence[str]) -> int:
    """Runs one command, or shows its help. Raises UserError for a mistake in the arguments."""
    from s2robot.config.defaults import load_defaults  # here, so that `s2robot --help` answers at once
    from s2robot.config.help import command_help
    from s2robot.config.overrides import place, undash
    from s2robot.config.targets import locate

    def takes_value(option: str) -> bool:
        return load_defaults(command.name).takes_value(option)

    given = undash([a for a in arguments if a not in ("-h", "--help")], takes_value)
    overrides = place(given, command.places)
    if {"-h", "--help"} & set(arguments):
        print(command_help(command, overrides))
        if command.more_help:
            print("\n" + locate(command.more_help)())
        return 0
    keep_freed_memory()
    bound_spinning()
    return run_command(command.name, overrides)


def _with_own_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--config-dir FOLDER`, whose folder is added."""
    rest, given = [], list(arguments)
    while given:
        argument = given.pop(0)
        name, equals, value = argument.partition("=")
        if name != "--config-dir":
            rest.append(argument)
            continue
        if not equals and not given:
            raise UserError("--config-dir: expected a folder that holds groups such as env/")
        from s2robot.config.defaults import add_folder  # here, so that `s2robot --help` answers at once

        add_folder(value if equals else given.pop(0))
    return rest


def _guarded(name: str, arguments: Sequence[str]) -> int:
    resumes = False
    try:
        command = find_command(name)
        resumes = command.resumes
        with terminable():
            code = run(command, arguments)
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
        how = ": run the same command again to go on" if resumes else ""
        print(f"interrupted{how}", file=sys.stderr)
        return 130
    except Terminated as signal:
        print(f"ended by {signal}", file=sys.stderr)
        return signal.code


if __name__ == "__main__":
    sys.exit(main())
