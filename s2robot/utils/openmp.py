"""How the threads of torch wait for one another."""

from __future__ import annotations

import os


def bound_spinning() -> None:
    """Threads that wait for their next share look for it some microseconds before they sleep, no longer.

    GNU's OpenMP, which torch's wheels carry, lets them look for milliseconds: beside other work on the same
    cores a training step took twice as long. Has an effect before torch is imported only, and none where
    the environment says how threads wait (`GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
