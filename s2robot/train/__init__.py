"""`s2robot train`: a policy from demo stores, by behaviour cloning on cached features."""

from s2robot.train.verb import main

__all__ = ["main"]
