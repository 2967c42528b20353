"""The command line as a user types it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s2robot
from s2robot import cli, commands
from s2robot.commands import COMMANDS, EXAMPLE, Command
from s2robot.config import compose
from s2robot.config.comments import head_comment
from s2robot.config.defaults import config_folder, load_defaults, names_in
from s2robot.config.targets import locate
from s2robot.core.errors import UserError

ROOT = Path(s2robot.__file__).parents[1]


def s2robot_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`s2robot ...` in a process of its own."""
    command = [sys.executable, "-m", "s2robot.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@dataclass(frozen=True)
class Doctor:
    """Options as those of `s2robot doctor`."""

    json: bool
    timeout: float
    encoders: bool


@dataclass(frozen=True)
class Drop:
    """Options as those of `s2robot demos drop`."""

    path: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class List:
    """The options of `s2robot demos list`."""

    path: str
    json: bool
    idle: bool


class Seen(list[Any]):
    """Keeps the options that it is called with, as those of the dataclass given."""

    def __init__(self, options: type = Doctor) -> None:
        super().__init__()
        self.__annotations__ = {"options": options}

    def __call__(self, options: Any) -> None:
        self.append(options)


def doing(act: Callable[[Doctor], Any]) -> Callable[[Doctor], Any]:
    """A command that does this."""

    def main(options: Doctor) -> Any:
        return act(options)

    return main


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module in the place of `s2robot doctor`, whose `main` a test may set."""
    module = types.ModuleType("a_stage")
    monkeypatch.setitem(sys.modules, "a_stage", module)
    monkeypatch.setattr(commands, "COMMANDS", (Command("doctor", "", "a_stage:main", "", ()),))
    return module


def test_help_lists_the_commands_by_who_uses_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    commands_, _, example = printed.partition("Example:\n")
    groups = re.findall(r"^(\w+):\n((?:  .+\n)+)", commands_, re.MULTILINE)
    listed = {title: " ".join(line.split()[0] for line in rows.splitlines()) for title, rows in groups}
    assert listed == {
        "Start": "quickstart doctor",
        "Record": "record demos import export",
        "Train": "encode train sweep pretrain probe advise",
        "Evaluate": "evaluate compare reproduce",
        "Deploy": "calibrate deploy serve",
        "Tools": "bench",
    }
    assert [line.split()[1] for line in example.splitlines()] == ["record", "train", "evaluate", "deploy"]
    assert all(len(line) <= 90 for line in printed.splitlines())


def test_the_example_of_the_help_is_understood() -> None:
    for line in EXAMPLE:
        _, name, *options = line.split()
        assert compose(name, options)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_texts_are_in_the_imperative(command: Command) -> None:
    first = command.help.split()[0]
    assert first[0].isupper() and not first.endswith("s"), "sentence case, imperative"
    assert not command.help.endswith(".")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_matters_first_are_options_or_groups(command: Command) -> None:
    defaults = load_defaults(command.name)
    known = {*defaults.groups, *defaults.options(), *map(str, defaults.config)}
    assert set(command.first) <= known
    assert 1 <= len(command.first) <= 6
    assert {name.removesuffix("...") for name in command.places} <= set(command.first)
    required = [name for name in defaults.options() if defaults.must_be_given(name)]
    assert set(required) <= set(command.first), "what must be given comes first"


def test_help_of_a_family_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for family, *help_ in (["demos"], ["demos", "--help"]):
        assert cli.main([family, *help_]) == 0
        printed = capsys.readouterr().out.splitlines()
        listed = [" ".join(line.split()[:2]) for line in printed if line.startswith("  ")]
        assert listed == [command.name for command in COMMANDS if command.name.startswith(f"{family} ")]
        assert printed[0] == f"usage: s2robot {family} COMMAND [option=value ...]"
        assert all(len(line) <= 100 for line in printed)


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = "{'torch', 'mujoco', 'numpy', 'hydra', 'zarr'}"
    code = f"import sys; from s2robot.cli import main; main(['--help']); print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("out=runs/deployed\n\n"), "one of them was imported"


TORCHLESS = """
import sys
from s2robot import cli
from s2robot.commands import find_command
from s2robot.config.targets import locate

for words in (["--help"], ["compare", "--help"], ["demos", "list", "nothing"], ["demos", "stats", "nothing"]):
    cli.main(words)
cli.main(["compare", "nothing", "nowhere"])
for name in ("doctor", "record", "quickstart", "evaluate", "import", "demos merge", "demos replay"):
    locate(find_command(name).target)
cli.main(["evaluate", "checkpoint=nothing", "out=nowhere"])
print("torch" in sys.modules)
"""


def test_commands_that_need_no_torch_do_not_import_it() -> None:
    done = subprocess.run([sys.executable, "-c", TORCHLESS], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"
    assert "no demo store at nothing" in done.stderr and "no checkpoint at nothing" in done.stderr, "they ran"


def test_version() -> None:
    assert s2robot_process("--version").stdout == f"s2robot {s2robot.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_shows_its_options(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    head, _, options = page.partition("\n\noptions:\n")
    assert f"\nusage: s2robot {command.name} " in head
    assert f"\nexample: s2robot {command.name}" in head, "the YAML opens with an example"
    assert all(len(line) <= 100 for line in options.partition("more examples:")[0].splitlines())
    rows = [line.split("=")[0].strip() for line in options.splitlines() if line.startswith("  ")]
    assert rows[0].startswith(command.first[0])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_refuses_unknown_options(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.name.split(), "no_such_option=1"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"s2robot {command.name}: unknown option 'no_such_option': ")
    assert message.count("\n") == 1


def test_a_policy_server_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deploy", "server=gpu-box:8000", f"out={tmp_path}"]) == 2
    said = "gpu-box:8000 is no address of a policy server: expected ws://host:port"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", names_in(config_folder()))
def test_no_option_bears_the_name_of_a_group_that_its_verb_does_not_choose_from(name: str) -> None:
    """Hydra would take it for a choice: the option could not be given."""
    defaults = load_defaults(name)
    groups = {folder.name for folder in config_folder().iterdir() if folder.is_dir()}
    assert groups & {str(option) for option in defaults.config} <= set(defaults.groups)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_leads_to_a_function(command: Command) -> None:
    assert callable(locate(command.target))


def test_an_unknown_verb_is_refused_in_one_line() -> None:
    done = s2robot_process("trian")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "s2robot trian: unknown command 'trian': did you mean 'train'? s2robot --help lists all"
    )
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


def test_an_unknown_verb_of_a_family_is_answered_with_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demos", "lst", "runs/demos"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        "s2robot demos lst: unknown command 'demos lst': did you mean 'demos list'? s2robot demos"
    )
    assert message.count("\n") == 1


def test_arguments_without_a_name_are_given_by_place(
    stage: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(Drop)
    stage.main = seen
    monkeypatch.setattr(
        commands, "COMMANDS", (Command("demos drop", "", "a_stage:main", "", (), ("path", "ids...")),)
    )
    assert cli.main(["demos", "drop", "runs/a=1/demos", "000012", "b-1"]) == 0
    assert cli.main(["demos", "drop", "ids=[000012,b-1]", "path=runs/a=1/demos"]) == 0
    assert seen == [Drop("runs/a=1/demos", ("000012", "b-1"))] * 2


def test_one_argument_too_many_is_refused(
    stage: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "COMMANDS", (Command("demos list", "", "a_stage:main", "", (), ("path",)),))
    assert cli.main(["demos", "list", "a", "b"]) == 2
    assert "'b' is no option: options are written name=value" in capsys.readouterr().err


def test_a_verb_gets_its_configuration(stage: types.ModuleType) -> None:
    seen = Seen()
    stage.main = seen
    assert cli.main(["doctor", "timeout=3"]) == 0
    assert seen == [Doctor(json=False, timeout=3, encoders=False)]


def test_dashes_are_understood(stage: types.ModuleType) -> None:
    seen = Seen()
    stage.main = seen
    assert cli.main(["doctor", "--json", "--timeout=3"]) == 0
    assert seen == [Doctor(json=True, timeout=3, encoders=False)]


def test_the_exit_code_is_the_verb_s(stage: types.ModuleType) -> None:
    stage.main = doing(lambda options: 7)
    assert cli.main(["doctor"]) == 7


def test_a_mistake_is_one_line(
    stage: types.ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(options: Doctor) -> None:
        raise UserError("no store\nat x")

    stage.main = main
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "s2robot doctor: no store at x\n"
    monkeypatch.setenv("S2ROBOT_DEBUG", "1")
    with pytest.raises(UserError):
        cli.main(["doctor"])


def test_a_bug_keeps_its_traceback(stage: types.ModuleType) -> None:
    stage.main = doing(lambda options: options.timeout / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_an_interruption_is_one_line(stage: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    stage.main = doing(lambda options: signal.raise_signal(signal.SIGINT))
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interruption_of_what_can_be_resumed_says_so(
    stage: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "COMMANDS", (Command("doctor", "", "a_stage:main", "", (), resumes=True),))
    stage.main = doing(lambda options: signal.raise_signal(signal.SIGINT))
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted: run the same command again to go on\n"


def test_a_command_that_says_it_goes_on_is_marked_as_one_that_does() -> None:
    for command in COMMANDS:
        said = head_comment(load_defaults(command.name).path)
        assert (
            not re.search(r"[Rr]un again[^.]*, it (goes on|reuses)", said)
            or command.resumes
            or command.name == "advise"
        )


def test_an_option_with_dashes_takes_the_value_behind_it(stage: types.ModuleType) -> None:
    seen = Seen()
    stage.main = seen
    assert cli.main(["doctor", "--timeout", "3", "--json"]) == 0
    assert cli.main(["doctor", "--json", "--timeout", "3"]) == 0
    assert seen == [Doctor(json=True, timeout=3, encoders=False)] * 2


def test_a_flag_leaves_the_value_behind_it_alone(
    stage: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(List)
    stage.main = seen
    monkeypatch.setattr(commands, "COMMANDS", (Command("demos list", "", "a_stage:main", "", (), ("path",)),))
    assert cli.main(["demos", "list", "--json", "runs/demos"]) == 0
    assert (seen[0].json, seen[0].path) == (True, "runs/demos")
