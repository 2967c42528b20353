"""What a config that comes from a file or a network may name: our own classes, and those the user chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf

from s2robot.config.defaults import config_folder, own_folders
from s2robot.core.errors import UserError

TRUSTED = frozenset(
    {
        "envs.cube_pick.CubePick",
        "envs.gym.Gym",
        "envs.imperfect_channel.ImperfectChannel",
        "envs.toy.Toy",
        "s2robot.core.task.Task",
        "s2robot.tasks.cube_pick.CubePickTask",
    }
)
"""Names that a recorded config may hold in any session: classes that read and write nothing."""

_GYM = "envs.gym.Gym"
_GROUPS = ("encoder", "env", "task")
"""Groups whose choices are recorded: what the user's own files there name is trusted too."""


def check_trusted(config: Any) -> None:
    """Raises UserError for a recorded config that would run anything else than what is trusted.

    Refused at any depth: a `_target_` that is none of `TRUSTED` nor named by a file of the user's own in
    `--config-dir`, Hydra's other instructions (`_args_`, `_partial_`, ...), and interpolations.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=False)
    for target in _targets(config):
        if not isinstance(target, str) or (target not in TRUSTED and target not in own_targets()):
            raise UserError(
                f"a file names _target_ '{target}', which is none of ours and in no file of --config-dir: "
                "it is not run"
            )


def check_imports(config: Any) -> None:
    """Raises UserError for a recorded config whose gymnasium environment no file of ours or the user's names.

    An `id` may import a module, and `kwargs` go to whatever is registered. Allowed without a file is an `id`
    that imports nothing, without `kwargs`.
    """
    for node in _mappings(config):
        given = node.get("id")
        if node.get("_target_") != _GYM or (":" not in str(given) and not node.get("kwargs")):
            continue
        if given not in _own_ids():
            raise UserError(
                f"a file names the environment id '{given}', which is in no file of --config-dir: it is "
                "not imported; name its folder by --config-dir, or give env=gym env.id=... as in recording"
            )


def _own_ids() -> frozenset[str]:
    """The ids of gymnasium environments in our files and the user's own."""
    folders = [folder / "env" for folder in (config_folder(), *own_folders())]
    files = [yaml.safe_load(path.read_text()) for folder in folders for path in folder.glob("*.yaml")]
    return frozenset(str(file["id"]) for file in files if isinstance(file, Mapping) and "id" in file)


def own_targets() -> frozenset[str]:
    """The `_target_`s in the user's own files, and in those of `configs/encoder/`, which users edit."""
    folders = [folder / group for folder in own_folders() for group in _GROUPS]
    paths = [path for folder in (*folders, config_folder() / "encoder") for path in folder.glob("*.yaml")]
    named = [target for path in paths for target in _targets(yaml.safe_load(path.read_text()), path.name)]
    return frozenset(target for target in named if isinstance(target, str))


def _mappings(node: Any) -> Iterator[Mapping[Any, Any]]:
    """Every mapping in a tree."""
    if isinstance(node, Mapping):
        yield node
    if isinstance(node, Mapping | list | tuple):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _mappings(value)


def _targets(node: Any, file: str | None = None) -> Iterator[Any]:
    """Every `_target_` in a tree. Of a recorded config (no `file`) nothing else may be an instruction."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield value
                continue
            if file is None and str(key).startswith("_"):
                raise UserError(f"a file holds {key}={value}, an instruction to Hydra: it is not run")
            if file is None and "${" in str(key):
                raise UserError(f"a file holds the interpolation '{key}': it is not run")
            yield from _targets(value, file)
    elif isinstance(node, Sequence) and not isinstance(node, str | bytes):
        for value in node:
            yield from _targets(value, file)
    elif file is None and isinstance(node, str) and "${" in node:
        raise UserError(f"a file holds the interpolation '{node}': it is not run")
