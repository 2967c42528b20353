"""`s2robot bench what=NAME`: chooses the measurement."""

from __future__ import annotations

from omegaconf import DictConfig

from s2robot.config.targets import locate
from s2robot.errors import unknown

MEASUREMENTS = {"store": "s2robot.bench.store:main", "disk": "s2robot.bench.disk:main"}


def main(cfg: DictConfig) -> None:
    """Runs the measurement named by `what`."""
    if cfg.what not in MEASUREMENTS:
        raise unknown("measurement", cfg.what, MEASUREMENTS)
    locate(MEASUREMENTS[cfg.what])(cfg)
