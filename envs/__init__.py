"""Simulated environments. Importing this package registers `s2robot/CubePick-v0` and `s2robot/Toy-v0`."""

import gymnasium

from s2robot.utils.quiet import silence_libraries

silence_libraries()

gymnasium.register("s2robot/CubePick-v0", entry_point="envs.cube_pick.env:CubePick")
gymnasium.register("s2robot/Toy-v0", entry_point="envs.toy:Toy")
