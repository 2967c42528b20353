"""One YAML a command, groups beside it, overrides on top: composed by Hydra, checked here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from s2robot.config.defaults import Defaults, leaves, load_defaults, one_line_errors, run_hydra
from s2robot.config.options import holds_text
from s2robot.config.overrides import check_choice, check_value, chooses, gather_cameras, parse
from s2robot.core.errors import UserError


def compose(
    command: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    options: Callable[[], type[Any]] | None = None,
) -> DictConfig:
    """The configuration of a command under `name=value` overrides. Interpolations stay live.

    Args:
        command: names the YAML file, e.g. `train`.
        overrides: in Hydra's grammar, e.g. `["demos=runs/demos", "env=toy", "env.cameras=[front]"]`.
        folder: where the YAML files lie; the package's own where None.
        options: gives the command's dataclass of options, which tells which of them are text and take any,
            as a user types it; asked only where Hydra would take a value for something else. None: all
            overrides are in Hydra's grammar, as `as_overrides` writes them.

    Raises:
        UserError: malformed override, unknown option or choice, a value of another type than the default's
            (null takes any), or no value for an option that must be given (`???`).
    """
    defaults, choices, values = _checked(command, overrides, folder, options)
    with one_line_errors():
        if all(_only_sets(value) for value in values):
            config = _with_values(defaults, values)
        else:
            lines = [*choices, *(str(value.input_line) for value in values)]
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


def _checked(
    command: str,
    overrides: Sequence[str],
    folder: Path | None,
    options: Callable[[], type[Any]] | None = None,
) -> tuple[Defaults, list[str], list[Override]]:
    """The defaults that hold under the groups chosen, these choices, and the overrides of values, checked."""
    overrides = gather_cameras(overrides)
    defaults = load_defaults(command, folder=folder)
    choosing = [text for text in overrides if chooses(text, defaults)]
    choices = [check_choice(parse(text), defaults) for text in choosing]
    if choices:
        defaults = load_defaults(command, choices, defaults.folder)

    def is_text(name: str, value: str) -> bool:
        known = holds_text(options(), name, value) if options else False
        return isinstance(defaults.value(name), str) if known is None else known

    given = [parse(text, is_text) for text in overrides if text not in choosing]
    return defaults, choices, [check_value(override, defaults) for override in given]


def _only_sets(override: Override) -> bool:
    """Whether an override gives an option that exists a value, which needs no second composition by Hydra."""
    return override.type is OverrideType.CHANGE and not override.package


def _with_values(defaults: Defaults, values: Sequence[Override]) -> DictConfig:
    """The defaults with these values, as Hydra sets them."""
    config = deepcopy(defaults.config)
    for override in values:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


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
