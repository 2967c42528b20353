"""Configuration as a user meets it: overrides, mistakes and help, on YAML files written here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import s2robot
from s2robot.commands import Command
from s2robot.config import compose, instantiate
from s2robot.config.comments import comments
from s2robot.config.defaults import Defaults, load_defaults
from s2robot.config.help import command_help
from s2robot.config.options import to_plain
from s2robot.config.overrides import as_override, check_value, parse, place
from s2robot.config.targets import locate
from s2robot.core.errors import UserError
from s2robot.vision.encoders.options import EncoderOptions

LEARN = Command("train", "Learn", "", "", ())

TRAIN = """\
# Trains a policy.
#
# examples:
#   s2robot train demos=runs/demos out=runs/policy
defaults:
  - env: cube
  - _self_

demos: ???           # PATH of the demo store
device: ???          # NAME of a device
steps: 800           # optimizer steps
lr: 1.0e-3           # peak learning rate,
                     # of AdamW
# worker processes;
# 0: none
workers: 2
amp: true
name: run # 1        # free text
hash: "a # b"        # quoted
cameras: [front, wrist]  # what the policy sees
sizes: [224, 448]
limit: null          # anything
twice: ${workers}    # follows another
optim:               # a section
  decay: 0.05        # weight decay
  betas:             # two of them
    - 0.9
    - 0.95
"""
CUBE = """\
# a cube on a table
_target_: envs.cube.Cube
rate: 10             # control steps a second, Hz
"""
TOY = """\
# no physics
_target_: envs.toy.Toy
size: 8              # px
"""
GIVEN = ("demos=a", "device=b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("configs")
    for group in ("env", "policy"):
        (root / group).mkdir()
    files = {"train": TRAIN, "env/cube": CUBE, "env/toy": TOY, "policy/small": "width: 8\n"}
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def defaults(folder: Path) -> Defaults:
    return load_defaults("train", folder=folder)


def as_hydra_reads(override: str, defaults: Defaults) -> object:
    """The value that Hydra takes from an override that passed the checks."""
    return check_value(parse(override), defaults).value()


def refusal(folder: Path, *overrides: str) -> str:
    """The one line with which overrides are refused."""
    with pytest.raises(UserError) as error:
        compose("train", overrides, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_defaults_and_overrides(folder: Path) -> None:
    overrides = [*GIVEN, "steps=5", "lr=2", "cameras=[front]", "optim.decay=0", "limit=[1]"]
    cfg = compose("train", overrides, folder)
    assert (cfg.demos, cfg.steps, cfg.lr, cfg.optim.decay) == ("a", 5, 2, 0)
    assert (list(cfg.cameras), list(cfg.limit), cfg.amp, cfg.env.rate) == (["front"], [1], True, 10)


def test_a_group_is_chosen_and_then_overridden(folder: Path) -> None:
    cfg = compose("train", [*GIVEN, "env.size=9", "env=toy"], folder)
    assert cfg.env == {"_target_": "envs.toy.Toy", "size": 9}


def test_interpolation_follows_an_override(folder: Path) -> None:
    assert compose("train", [*GIVEN, "workers=7"], folder).twice == 7
    assert compose("train", [*GIVEN, "steps=${workers}"], folder).steps == 2


def test_composing_leaves_no_trace(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (compose("train", [*GIVEN, f"steps={n}"], folder) for n in (1, 2))
    assert (first.steps, second.steps) == (1, 2)
    assert not list(tmp_path.iterdir())
    assert Path.cwd() == tmp_path


@dataclass(frozen=True)
class Typed:
    """Types of some options of `train`."""

    demos: str
    name: str
    limit: str | None
    cameras: tuple[str, ...]
    lr: float


TEXTS = ["120", "1e3", "007", "true", "1_000", "it's", "a b (1) é", "a=b", "100%", "", "'a'"]
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="$[]{},:")


@pytest.mark.parametrize("name", TEXTS)
def test_text_stays_as_typed(folder: Path, name: str) -> None:
    cfg = compose("train", ["device=b", f"name={name}", f"demos={name}"], folder, lambda: Typed)
    assert (cfg.name, cfg.demos) == (name, name)


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example(text="pick the cube, then lift it")
@example(text="{slow}")
@example(text="null")
@example(text="007")
@example(text="${x}")
@example(text="\\${x} \\\\${y")
@example(text="'quoted' and \\")
@example(text="[a")
@example(text="int(3)")
def test_any_text_reaches_an_option_of_type_str(text: str, defaults: Defaults) -> None:
    assume(not text.startswith("~/"))
    override = parse(f"name={text}", lambda name, value: True)
    value = check_value(override, defaults).value()
    assert OmegaConf.to_container(OmegaConf.create({"name": value}), resolve=True) == {"name": text}


@pytest.mark.parametrize(
    ("typed", "taken"),
    [("limit=007", "007"), ("limit=null", None), ("limit=a, b", "a, b"), ("limit={a: 1}", "{a: 1}")],
)
def test_text_that_is_no_text_by_default(folder: Path, typed: str, taken: str | None) -> None:
    assert compose("train", [*GIVEN, typed], folder, lambda: Typed).limit == taken


def test_values_of_other_types_are_read_by_hydra(folder: Path) -> None:
    cfg = compose("train", [*GIVEN, "lr=1e-4", "cameras=[a,b]"], folder, lambda: Typed)
    assert (cfg.lr, cfg.cameras) == (1e-4, ["a", "b"])


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("[seed=0,1,2]", ["seed=0,1,2"]),
        ("[seed=0,1,lr=1e-3,3e-4]", ["seed=0,1", "lr=1e-3,3e-4"]),
        ("[cameras=[front,wrist],env.size=5]", ["cameras=[front,wrist]", "env.size=5"]),
        ("[demos=runs/demos,+x=1]", ["demos=runs/demos", "+x=1"]),
        ('["seed=0,1","lr=1"]', ["seed=0,1", "lr=1"]),
    ],
)
def test_a_list_of_options_is_read_as_a_shell_leaves_it(typed: str, read: list[str]) -> None:
    assert compose("sweep", ["out=x", "train=[demos=a]", f"over={typed}"]).over == read


def test_home_is_expanded(folder: Path) -> None:
    assert compose("train", ["device=b", "demos=~/x"], folder).demos == str(Path.home() / "x")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=abc", "steps=abc: expected a whole number (default 800)"),
        ("steps=1.5", "steps=1.5: expected a whole number (default 800)"),
        ("steps=true", "steps=true: expected a whole number (default 800)"),
        ("steps=", "steps=: expected a whole number (default 800)"),
        ("steps=null", "steps=null: expected a whole number (default 800)"),
        ("lr=fast", "lr=fast: expected a number (default 0.001)"),
        ("amp=1", "amp=1: expected true or false (default true)"),
        ("cameras=front", "cameras=front: expected a list, each entry text (default [front,wrist])"),
        ("sizes=[1,x]", "sizes=[1,x]: expected a list, each entry a whole number (default [224,448])"),
        ("sizes=1,2", "sizes=1,2: takes one value; a list is written [1,2]"),
        ("optim=3", "optim=3: expected a section's options one by one: decay, betas"),
        ("env=tyo", "unknown env 'tyo': did you mean 'toy'? valid: cube, toy"),
        ("foo", "'foo' is no option: options are written name=value, e.g. seed=1"),
        ("=3", "'=3' is no option: options are written name=value, e.g. seed=1"),
        ("+=3", "'+=3' is no option: options are written name=value, e.g. seed=1"),
        ("~=", "'~=' is no option: options are written name=value, e.g. seed=1"),
        ("+@env=toy", "'+@env=toy' is no option: options are written name=value, e.g. seed=1"),
        ("env@=toy", "'env@=toy' is no option: options are written name=value, e.g. seed=1"),
        ("env=[toy]", "unknown env '[toy]': did you mean 'toy'? valid: cube, toy"),
        ("+env=[1]", "these options cannot be read: argument of type 'int' is not iterable"),
        (
            "env@optim=3e-4",
            "these options cannot be read: Config group override must be a string or a list. Got float",
        ),
        ("a b=3", "'a b' is no name of an option: they look like seed or env.rate"),
        ("cameras=[front", "cameras=[front: cannot be read: a list is written [a,b], text as it is or '...'"),
    ],
)
def test_refused_in_one_line(folder: Path, override: str, message: str) -> None:
    assert refusal(folder, *GIVEN, override) == message


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("stesp=3", "did you mean 'steps'"),
        ("decay=3", "did you mean 'optim.decay'"),
        ("opt.decay=3", "did you mean 'optim.decay'"),
        ("zzz=3", ""),
    ],
)
def test_an_unknown_option_names_the_nearest(folder: Path, typed: str, near: str) -> None:
    name = typed.partition("=")[0]
    said = refusal(folder, *GIVEN, typed)
    assert said.startswith(f"unknown option '{name}': {near}")
    assert said.endswith("s2robot train --help lists all 16")


def test_options_are_those_of_the_chosen_group(folder: Path) -> None:
    assert "'env.rate'" in refusal(folder, *GIVEN, "env=toy", "env.rate=3")


def test_a_group_that_the_verb_does_not_use_is_no_option(folder: Path) -> None:
    assert refusal(folder, *GIVEN, "policy=small").startswith("unknown option 'policy'")


def test_missing_values_are_asked_for(folder: Path) -> None:
    assert refusal(folder) == "demos and device are missing: give demos=PATH device=NAME"
    assert refusal(folder, "demos=a") == "device is missing: give device=NAME (NAME of a device)"


def test_a_broken_interpolation_is_refused(folder: Path) -> None:
    assert "nothing" in refusal(folder, *GIVEN, "limit=${nothing}")


def test_an_unknown_verb_names_those_that_exist(folder: Path) -> None:
    with pytest.raises(UserError, match="unknown configuration 'trian': did you mean 'train'"):
        compose("trian", folder=folder)


def test_comments_are_those_beside_and_above_a_value(folder: Path) -> None:
    found = comments(folder / "train.yaml")
    assert found["demos"] == "PATH of the demo store"
    assert found["lr"] == "peak learning rate, of AdamW"
    assert found["workers"] == "worker processes; 0: none"
    assert found["hash"] == "quoted"
    assert found["cameras"] == "what the policy sees"
    assert found["optim"] == "a section"
    assert found["optim.decay"] == "weight decay"
    assert found["optim.betas"] == "two of them"
    assert found["amp"] == ""


def test_help_shows_description_options_and_choices(folder: Path) -> None:
    rows = [" ".join(line.split()) for line in command_help(LEARN, folder=folder).splitlines()]
    assert "example: s2robot train demos=runs/demos out=runs/policy" in rows
    assert "demos=PATH PATH of the demo store (must be given)" in rows
    assert "lr=0.001 peak learning rate, of AdamW" in rows
    assert "limit=null anything" in rows
    assert "optim.betas=[0.9,0.95] two of them" in rows
    assert "env=toy no physics" in rows
    assert "env.rate=10 control steps a second, Hz" in rows
    assert not any("_target_" in row for row in rows)


def test_help_begins_with_the_options_that_matter_first(folder: Path) -> None:
    page = command_help(replace(LEARN, first=("lr", "env", "optim")), folder=folder)
    first, _, rest = page.partition("\n\nmore options:\n")
    names = [line.split("=")[0].strip() for line in first.partition("options:\n")[2].splitlines()]
    assert names == ["lr", "env", "optim.decay", "optim.betas"]
    assert "env=cube" in first and "demos=PATH" in rest and "env.rate=10" in rest
    assert not re.search(r"^ +(lr|optim\.\w+)=", rest, re.MULTILINE)


def test_help_follows_the_choice_of_a_group(folder: Path) -> None:
    page = command_help(LEARN, ["env=toy"], folder)
    assert "env.size=8" in page
    assert "env.rate" not in page


def test_help_of_a_choice_that_builds_on_another_has_its_comments(folder: Path) -> None:
    (folder / "env" / "large.yaml").write_text("# larger\ndefaults:\n  - toy\n  - _self_\n\nsize: 99\n")
    rows = [" ".join(line.split()) for line in command_help(LEARN, ["env=large"], folder).splitlines()]
    assert "env.size=99 px" in rows
    (folder / "env" / "large.yaml").unlink()


def test_help_wraps_long_texts_beside_their_option(tmp_path: Path) -> None:
    long = "word " * 60
    (tmp_path / "x.yaml").write_text(f"short: 1  # {long}\n{'n' * 60}: 2  # {long}\n")
    lines = command_help(Command("x", "", "", "", ()), folder=tmp_path).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.count("word") for line in lines) == 120


def test_help_shows_what_is_given_by_place(folder: Path) -> None:
    page = command_help(replace(LEARN, places=("demos", "cameras...")), folder=folder)
    assert "usage: s2robot train DEMOS CAMERAS... [option=value ...]" in page


def test_a_verb_of_two_words_has_a_file_of_its_own(folder: Path) -> None:
    (folder / "train_more.yaml").write_text("# Trains on.\nsteps: 3\n")
    assert compose("train more", ["steps=4"], folder) == {"steps": 4}
    page = command_help(Command("train more", "Go on", "", "", ()), folder=folder)
    assert page.startswith("Trains on.\n\nusage: s2robot train more [option")


@pytest.mark.parametrize(
    ("arguments", "placed"),
    [
        (["a"], ["path=a"]),
        (["a", "b", "c"], ["path=a", "ids=['b','c']"]),
        (["x=1", "a", "y=2", "b"], ["x=1", "y=2", "path=a", "ids=['b']"]),
        (["s3://bucket/a=b"], ["path=s3://bucket/a=b"]),
        (["~/demos", "it's"], ["path=~/demos", "ids=['it\\'s']"]),
        (["~gone", "+more=1"], ["~gone", "+more=1"]),
        ([], []),
    ],
)
def test_what_has_no_name_gets_that_of_its_place(arguments: list[str], placed: list[str]) -> None:
    assert place(arguments, ("path", "ids...")) == placed


@given(words=st.lists(st.text(CHARACTERS, min_size=1), min_size=1, max_size=3))
def test_any_words_reach_a_list_as_typed(words: list[str], defaults: Defaults) -> None:
    assume(not any("=" in word or word.startswith(("~", "+")) for word in words))
    (override,) = place(words, ("cameras...",))
    assert as_hydra_reads(override, defaults) == words


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(value=VALUES)
def test_a_value_as_shown_can_be_typed(value: object, defaults: Defaults) -> None:
    assert as_hydra_reads(f"limit={as_override(value)}", defaults) == value


def test_an_object_is_made_from_its_options() -> None:
    made = instantiate({"_target_": "fractions.Fraction", "numerator": 3}, denominator=4)
    assert str(made) == "3/4"


def test_a_mistake_in_an_object_s_options_stays_a_mistake() -> None:
    spec = {"_target_": "s2robot.core.spec.RobotSpec.from_dict", "plain": {"cameras": {}}}
    with pytest.raises(UserError, match="robot spec lacks proprio"):
        instantiate(spec)


def test_a_bug_in_an_object_stays_a_bug() -> None:
    with pytest.raises(InstantiationException):
        instantiate({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0})
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        locate("no_such_package.main:main")


@pytest.mark.parametrize("call", ["locate('envs.toy:Toy')", "instantiate({'_target_': 'envs.toy.Toy'})"])
def test_without_a_checkout_the_simulation_is_missing(call: str, tmp_path: Path) -> None:
    (tmp_path / "s2robot").symlink_to(Path(s2robot.__file__).parent)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{packages}"}
    code = f"from s2robot.config.targets import *; {call}"
    command = [
        sys.executable,
        "-S",
        "-P",
        "-c",
        code,
    ]  # -S: an editable install's path to the checkout is not read
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
    assert "UserError: the simulation (folders envs/ and demos/)" in done.stderr
    assert "run from a checkout" in done.stderr


@pytest.mark.parametrize(
    ("options", "fit", "of_cameras"),
    [
        (["encoder.fit=pad"], "pad", {}),
        (["encoder.fit.front=crop"], "stretch", {"front": "crop"}),
        (["encoder.fit.wrist/left=crop", "encoder.fit=pad"], "pad", {"wrist/left": "crop"}),
        (["encoder.fit.wrist.left=crop", "encoder.fit.a=pad"], "stretch", {"wrist.left": "crop", "a": "pad"}),
        (["encoder.fit={front:crop,others:pad}"], "pad", {"front": "crop"}),
    ],
)
def test_the_fit_is_given_for_all_cameras_or_one_by_one(
    options: list[str], fit: str, of_cameras: dict[str, str]
) -> None:
    encoder = EncoderOptions.of(compose("train", ["demos=d", "out=o", *options]).encoder)
    assert (encoder.fit, encoder.camera_fit) == (fit, of_cameras)
    assert EncoderOptions.of(to_plain(encoder)) == encoder


@pytest.mark.parametrize(
    "option", ["encoder.crop.wrist/left=[0.25,0,1,0.5]", "encoder.crop={wrist/left:[0.25,0,1,0.5]}"]
)
def test_a_crop_is_of_one_camera(option: str) -> None:
    encoder = EncoderOptions.of(compose("train", ["demos=d", "out=o", option]).encoder)
    assert encoder.crop == {"wrist/left": (0.25, 0, 1, 0.5)}
    assert EncoderOptions.of(to_plain(encoder)) == encoder


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "[0,0,1,1]",
            "encoder.crop=[0, 0, 1, 1]: expected one a camera, encoder.crop.front=[left,top,right,bottom]",
        ),
        ("{front:[0.2,0.3]}", "encoder.crop.front=[0.2, 0.3]: expected an entry 3"),
    ],
)
def test_a_crop_in_another_form_is_told_which(given: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        EncoderOptions.of(compose("train", ["demos=d", "out=o", f"encoder.crop={given}"]).encoder)
    assert str(error.value) == said


@pytest.mark.parametrize(
    "given",
    ["[0,0,1,1]", "front", "{front:[0,0,1]}", "{front:[0,0,1,a]}", "{front:[0.6,0,0.4,1]}", "{front:1}"],
)
def test_a_crop_that_is_no_box_of_a_camera_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"encoder\.crop"):
        EncoderOptions.of(compose("train", ["demos=d", "out=o", f"encoder.crop={given}"]).encoder)
