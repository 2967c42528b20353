"""Any gymnasium environment by a mapping of what it observes: `env=gym`, configs/env/gym.yaml."""

from envs.gym.env import Gym

__all__ = ["Gym"]
