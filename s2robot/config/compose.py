"""One YAML a command, groups beside it, overrides on top: composed by Hydra, checked here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from s2robot.config.defaults import Defaults, leaves, load_defaults, one_line_errors, run_hydra
from s2robot.config.overrides import check_choice, check_value, chooses, gather_cameras, parse
from s2robot.core.errors import UserError


def compose(command: str, overrides: Sequence[str] = (), folder: Path | None = None) -> DictConfig:
    """The configuration of a command under `name=value` overrides. Interpolations stay live.

    Args:
        command: names the YAML file, e.g. `train`.
        overrides: in Hydra's grammar, e.g. `["demos=runs/demos", "env=toy", "env.cameras=[front]"]`.
        folder: where the YAML files lie; the package's own where None.

    Raises:
        UserError: malformed override, unknown option or choice, a value of another type than the default's
            (null takes any), or no value for an option that must be given (`???`).
    """
    defaults, lines = _checked(command, overrides, folder)
    with one_line_errors():
        config = run_hydra(defaults.name, lines, defaults.folder)
        _require_all_given(config, defaults)
        OmegaConf.to_container(config, resolve=True)  # a broken interpolation shows now, not hours later
    return config


def chosen_defaults(command: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Defaults:
    """The defaults of a command under the overrides that choose from a group. Raises as `compose`."""
    return _checked(command, overrides, folder)[0]


def metavar(comment: str) -> str:
    """What stands for a value that must be given: the comment's first word if in capitals, else PATH."""
    first = comment.split(maxsplit=1)[0].strip(":,;") if comment else ""
    return first if first.isupper() and first.isalpha() else "PATH"


def _checked(command: str, overrides: Sequence[str], folder: Path | None) -> tuple[Defaults, list[str]]:
    """The defaults that hold under the groups chosen, and the overrides as Hydra shall read them."""
    given = [parse(text) for text in gather_cameras(overrides)]
    defaults = load_defaults(command, folder=folder)
    choices = [check_choice(override, defaults) for override in given if chooses(override, defaults)]
    if choices:
        defaults = load_defaults(command, choices, defaults.folder)
    values = [check_value(override, defaults) for override in given if not chooses(override, defaults)]
    return defaults, choices + values


def _require_all_given(config: DictConfig, defaults: Defaults) -> None:
    absent = OmegaConf.missing_keys(config)
    names = [name for name in leaves(config) if name in absent]
    if not names:
        return
    texts = defaults.comments()
    give = " ".join(f"{name}={metavar(texts.get(name, ''))}" for name in names)
    comment = f" ({texts[names[0]]})" if len(names) == 1 and texts.get(names[0]) else ""
    raise UserError(
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing: give {give}{comment}"
    )
