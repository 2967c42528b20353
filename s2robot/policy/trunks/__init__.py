"""Trunks, one file each: from the visual tokens, state and last actions of each step to one vector a step."""
