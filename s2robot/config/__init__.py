"""Configuration: `configs/COMMAND.yaml`, its groups (`configs/env/`, ...) and overrides, checked first."""

from s2robot.config.compose import compose
from s2robot.config.targets import instantiate

__all__ = ["compose", "instantiate"]
