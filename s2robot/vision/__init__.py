"""Pixels to features: S², MVP encoders, masked pre-training, feature cache."""

from s2robot.vision import lean_timm as lean_timm  # before anything imports timm
from s2robot.vision.encoders.registry import load_encoder
from s2robot.vision.s2 import S2, multiscale_forward

__all__ = ["S2", "load_encoder", "multiscale_forward"]
