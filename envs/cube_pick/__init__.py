"""`s2robot/CubePick-v0`: a Panda picks a cube up from a table, in robosuite (MuJoCo)."""

from envs.cube_pick.env import CubePick

__all__ = ["CubePick"]
