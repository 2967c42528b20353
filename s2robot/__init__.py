"""s2robot: record demos, train behaviour-cloning policies on multi-scale visual features, count successes.

The names below are the Python API; docs/api.md shows each with its arguments. They are imported when they are
first used: `import s2robot` alone loads neither torch nor MuJoCo.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2robot.compare.result import compare_evaluations
    from s2robot.config.environment import make_env
    from s2robot.core.errors import UserError
    from s2robot.core.rollout import run_episode
    from s2robot.core.spec import RobotSpec
    from s2robot.data.store import DemoStore
    from s2robot.evaluation.command import evaluate_policy
    from s2robot.policy.checkpoint import load_policy
    from s2robot.record.command import record_demos
    from s2robot.tasks import load_task
    from s2robot.train.command import train_policy
    from s2robot.train.windows import load_windows, make_policy
    from s2robot.vision.encoders.registry import load_encoder
    from s2robot.vision.s2 import S2

__version__ = "0.1.0"

__all__ = [
    "S2",
    "DemoStore",
    "RobotSpec",
    "UserError",
    "compare_evaluations",
    "evaluate_policy",
    "load_encoder",
    "load_policy",
    "load_task",
    "load_windows",
    "make_env",
    "make_policy",
    "record_demos",
    "run_episode",
    "train_policy",
]

_MODULES = {
    "S2": "vision.s2",
    "DemoStore": "data.store",
    "RobotSpec": "core.spec",
    "UserError": "core.errors",
    "compare_evaluations": "compare.result",
    "evaluate_policy": "evaluation.command",
    "load_encoder": "vision.encoders.registry",
    "load_policy": "policy.checkpoint",
    "load_task": "tasks",
    "load_windows": "train.windows",
    "make_env": "config.environment",
    "make_policy": "train.windows",
    "record_demos": "record.command",
    "run_episode": "core.rollout",
    "train_policy": "train.command",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 's2robot' has no attribute '{name}'; it offers {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(f"s2robot.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
