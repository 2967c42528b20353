"""Pixels to features: S², MVP encoders, masked pre-training, feature cache."""

from s2robot.vision.multiscale import S2, multiscale_forward
from s2robot.vision.mvp import load_encoder

__all__ = ["S2", "load_encoder", "multiscale_forward"]
