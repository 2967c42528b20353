"""Measurements beside others, each in one run on the same data and machine."""
