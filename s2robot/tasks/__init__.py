"""Tasks: what is attempted, from which starts, and how a failure is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from s2robot.config.environment import env_config
from s2robot.config.targets import instantiate, instantiate_recorded
from s2robot.core.errors import UserError
from s2robot.core.task import Task
from s2robot.tasks.metaworld import metaworld_task

_VERSION = re.compile(r"-v\d+$")


def load_task(env: str | Mapping[str, Any], make: Callable[[Any], Any] = instantiate_recorded) -> Task:
    """The task of an environment, from the section `task` of its config: the simulator is not needed.

    A config without that section is of an environment whose starts are seeds: the task is named after its
    `id` and takes its words, `instruction` and `goal`, from the config itself. A name in the section's place
    is one of Meta-World's.

    Args:
        env: the environment's config, or its name (`make_env`).
        make: `instantiate` for a config that the user chose; the default is for one that a file holds.

    Raises:
        UserError: an unknown name, the section makes no task, or a file's section names something that is
            none of ours.

    Examples:
        >>> task = s2robot.load_task("cube_pick")
        >>> task.instruction, len(task.fixed_starts)
        ('pick up the cube', 16)
        >>> env = s2robot.make_env("toy")
        >>> observation, info = env.reset(seed=0, options=task.starts(1)[0].options)
    """
    if isinstance(env, str):
        env, make = env_config(env), instantiate
    section = env.get("task")
    if isinstance(section, str):
        return metaworld_task(section)
    task = _over_seeds(env) if section is None else make(section)
    if not isinstance(task, Task):
        raise UserError(f"env.task={dict(section or {})}: makes {type(task).__name__}: expected a Task")
    return task


def _over_seeds(env_config: Mapping[str, Any]) -> Task:
    words = {name: str(env_config[name]) for name in ("instruction", "goal") if env_config.get(name)}
    if env_config.get("id"):
        words["name"] = _VERSION.sub("", re.split(r"[:/]", str(env_config["id"]))[-1])
    return Task(**words)
