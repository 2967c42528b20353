"""What a command does when nothing is overridden: the values, groups and comments of its YAML files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from s2robot.config.comments import comments, head_comment
from s2robot.core.errors import UserError, unknown
from s2robot.utils.paths import resource

VARIABLE = "S2ROBOT_CONFIG_DIR"


@dataclass(frozen=True)
class Defaults:
    """A command's configuration before values are overridden.

    Attributes:
        name: of the top YAML file.
        folder: where the YAML files lie.
        groups: group -> the choice made of it, e.g. `{"env": "cube_pick", "task@env.task": "seeds"}`: what
            stands behind `@` is the section that it fills. None: no choice is made unless the user makes one.
        config: the composed configuration, `???` where a value must be given.
    """

    name: str
    folder: Path
    groups: dict[str, str | None]
    config: DictConfig

    @property
    def path(self) -> Path:
        """The top YAML file."""
        return self.folder / f"{self.name}.yaml"

    def choices(self, group: str) -> dict[str, Path]:
        """The choices of a group, name -> YAML file: ours and those of the user's own folders."""
        inside = [folder / group_folder(group) for folder in (self.folder, *own_folders())]
        return {path.stem: path for folder in inside for path in sorted(folder.glob("*.yaml"))}

    @cached_property
    def leaves(self) -> list[str]:
        """The dotted names of everything in the configuration that is not itself a section."""
        return leaves(self.config)

    def options(self) -> list[str]:
        """The dotted names of all options in the order of the YAML, without Hydra's own (`_target_`)."""
        return [name for name in self.leaves if not any(part.startswith("_") for part in name.split("."))]

    def value(self, option: str) -> Any:
        """The default of an option or section, None where it is missing or refers to something missing."""
        try:
            return OmegaConf.select(self.config, option)
        except OmegaConfBaseException:
            return None

    def takes_value(self, option: str) -> bool:
        """Whether there is such an option, and it is another thing than true or false."""
        return option in self.options() and not isinstance(self.value(option), bool)

    def must_be_given(self, option: str) -> bool:
        """Whether the option is `???`: there is no default."""
        return option in OmegaConf.missing_keys(self.config)

    def comments(self) -> dict[str, str]:
        """Option -> the comment beside it; the command's own goes before that of a choice."""
        own = comments(self.path)
        found: dict[str, str] = {}
        for group, choice in self.groups.items():
            for path in _with_included(choice, self.choices(group)) if choice else ():
                prefix = "" if "@package _global_" in head_comment(path) else f"{section_of(group)}."
                found |= {prefix + name: text for name, text in comments(path).items() if text}
        return own | found | {name: text for name, text in own.items() if text}


def load_defaults(command: str, choices: Sequence[str] = (), folder: Path | None = None) -> Defaults:
    """The defaults of a command under choices such as `env=toy`. Raises UserError for an unknown command.

    Those of a command of two words, `demos list`, are in `demos_list.yaml`.
    """
    folder, name = folder or config_folder(), command.replace(" ", "_")
    if not (folder / f"{name}.yaml").is_file():
        raise unknown("configuration", command, names_in(folder))
    load = _load.__wrapped__ if own_folders() else _load  # a user's folder may change, and be large
    written = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*.yaml")))
    return load(name, tuple(choices), folder, written)


@lru_cache(maxsize=256)
def _load(
    name: str, choices: tuple[str, ...], folder: Path, written: tuple[tuple[str, int], ...]
) -> Defaults:
    with one_line_errors():
        config = run_hydra(name, choices, folder, return_hydra_config=True)
    chosen: Mapping[str, str | None] = config.hydra.runtime.choices
    groups = {g: choice for g, choice in chosen.items() if not g.startswith("hydra/")}
    with open_dict(config):
        del config["hydra"]
    defaults = Defaults(name, folder, groups, config)
    existing = {g: choice if choice in defaults.choices(g) else None for g, choice in groups.items()}
    return replace(defaults, groups=existing)  # an `optional` choice may have no file


def _with_included(choice: str, choices: Mapping[str, Path]) -> list[Path]:
    """The files of the choices of the same group that one builds on, then its own."""
    path = choices[choice]
    listed = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    return [*(choices[name] for name in listed if isinstance(name, str) and name in choices), path]


def group_folder(group: str) -> str:
    """The folder of a group's choices: `task@env.task` -> `task`."""
    return group.partition("@")[0]


def section_of(group: str) -> str:
    """The section that a group fills: `task@env.task` -> `env.task`, `robot/arm` -> `robot.arm`."""
    folder, _, package = group.partition("@")
    return package or folder.replace("/", ".")


def config_folder() -> Path:
    """Where the YAML files lie: inside an installed package, beside it in a checkout."""
    folder = resource("configs")
    if folder is None:
        raise UserError("the folder `configs` is missing beside the package s2robot: install it again")
    return folder


def own_folders() -> list[Path]:
    """The user's own configuration folders, which `--config-dir` or the variable S2ROBOT_CONFIG_DIR names."""
    return [Path(p).resolve() for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]


def add_folder(folder: str | Path) -> None:
    """Adds a configuration folder, for this process and those it starts; its Python modules can be imported.

    Raises UserError where it is no folder.
    """
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise UserError(f"--config-dir={folder}: expected a folder that holds groups such as env/")
    for variable in (VARIABLE, "PYTHONPATH"):
        before = [p for p in os.environ.get(variable, "").split(os.pathsep) if p and p != str(path)]
        os.environ[variable] = os.pathsep.join([str(path), *before])
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))


def names_in(folder: Path) -> list[str]:
    """The names of the YAML files in a folder, which are the choices of a group."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def leaves(config: DictConfig) -> list[str]:
    """The dotted names of everything that is not itself a section."""
    return list(_leaves(OmegaConf.to_container(config), ""))


def _leaves(node: Any, name: str) -> Iterator[str]:
    if not (isinstance(node, dict) and node):
        yield name
        return
    for key, value in node.items():
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def run_hydra(
    name: str, overrides: Sequence[str], folder: Path, return_hydra_config: bool = False
) -> DictConfig:
    """Hydra's composition, without its working folders, logs and global state."""
    if own := own_folders():
        overrides = [*overrides, f"hydra.searchpath=[{','.join(f'file://{path}' for path in own)}]"]
    with hydra.initialize_config_dir(str(folder.resolve()), version_base="1.3"):
        return hydra.compose(name, list(overrides), return_hydra_config=return_hydra_config)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns the errors of Hydra, OmegaConf and YAML, several lines each, into a UserError of one line.

    Of an override such as `+encoder=[1]` Hydra's own code raises Python's.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError("; ".join(lines[:2])) from error
    except (AssertionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"these options cannot be read: {reason}") from error
