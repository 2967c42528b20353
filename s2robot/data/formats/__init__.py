"""Demos in the formats of others: `s2robot export` and `s2robot import`, one module a format.

diffusion_policy  out and in   Zarr v2 as Diffusion Policy and UMI read it
lerobot           out and in   LeRobotDataset v3.0, written and read by lerobot itself
robomimic         in           robosuite's and robomimic's HDF5, its frames rendered from the states
mp4               out          one film an episode and camera
"""
