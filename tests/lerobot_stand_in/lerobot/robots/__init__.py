"""Robots and their configs, known by name."""

import sys
from dataclasses import dataclass
from typing import ClassVar


@dataclass(kw_only=True)
class RobotConfig:
    """What every robot's config is."""

    id: str | None = None
    known: ClassVar[dict[str, type]] = {}

    @classmethod
    def register_subclass(cls, name):
        return lambda found: cls.known.setdefault(name, found)

    @classmethod
    def get_known_choices(cls):
        return cls.known


class Robot:
    """What every robot is."""

    def __init__(self, config):
        self.id = config.id


def make_robot_from_config(config):
    kind = type(config)
    return getattr(sys.modules[kind.__module__], kind.__name__.removesuffix("Config"))(config)
