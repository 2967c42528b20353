"""Tasks: what is attempted, from which starts, and how a failure is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from s2robot.config.targets import instantiate_recorded
from s2robot.core.errors import UserError
from s2robot.core.task import Task


def load_task(env_config: Mapping[str, Any], make: Callable[[Any], Any] = instantiate_recorded) -> Task:
    """The task of an environment, from the section `task` of its config: the simulator is not needed.

    A config without that section is of an environment whose starts are seeds.

    Args:
        env_config: of the environment.
        make: `instantiate` for a config that the user chose; the default is for one that a file holds.

    Raises:
        UserError: the section makes no task, or a file's section names something that is none of ours.
    """
    section = env_config.get("task")
    task = Task() if section is None else make(section)
    if not isinstance(task, Task):
        raise UserError(f"env.task={dict(section or {})}: makes {type(task).__name__}: expected a Task")
    return task
