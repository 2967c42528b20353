"""How the threads of torch wait for one another."""

from __future__ import annotations

import os


def keep_threads_awake() -> None:
    """Threads that wait for their next share look for it some microseconds before they sleep.

    The OpenMP library of torch's wheels lets them sleep at once, and to wake one took 80 us on a virtual
    machine: longer than most products of a policy take. Has an effect before torch is imported only, and none
    where the environment says how threads wait (`GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # more costs where other work shares the cores
