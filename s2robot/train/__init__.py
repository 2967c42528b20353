"""`s2robot train`: a policy from demo stores, by behaviour cloning on cached features."""

from s2robot.train.command import main

__all__ = ["main"]
