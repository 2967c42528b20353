"""Stands in for the library by which lerobot reads its configs."""


def decode(cls, options):
    return cls(**options)
