"""Real writer processes for the tests of the store: forked on request, so that each starts at once.

Run as a script. Each line of standard input, `{"path", "seed", "ids", "log"}`, forks a process whose id is
printed. It opens or creates the store and appends made episodes under the ids given or, where these are null,
under default ids until it is killed. For each it adds a line to the log: `{"seed", "n", "id"}` or, where the
store refused, `{"seed", "n", "refused"}`.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys

import numpy as np

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore, Episode

SPEC = RobotSpec(
    cameras={"front": (24, 32, 3), "wrist": (16, 16, 3)},
    proprio=("joint1 [rad]", "joint2 [rad]", "gripper [m]"),
    action=("dx [m]", "gripper [m]"),
    action_space="ee_delta",
    rate=10.0,
)


def made_episode(seed: int, n: int, spec: RobotSpec = SPEC, steps: int | None = None) -> Episode:
    """The n-th episode of a seed: noise, always the same; its attributes say which it is."""
    rng = np.random.default_rng([seed, n])
    steps = steps or int(rng.integers(1, 60))
    return Episode(
        images={c: rng.integers(0, 256, (steps, *s), dtype=np.uint8) for c, s in spec.cameras.items()},
        proprio=rng.standard_normal((steps, spec.proprio_dim), dtype=np.float32),
        action=rng.standard_normal((steps, spec.action_dim), dtype=np.float32),
        action_applied=rng.standard_normal((steps, spec.action_dim), dtype=np.float32),
        time=np.cumsum(rng.random(steps)),
        attributes={"success": bool(n % 2), "seed": seed, "n": n},
    )


def write(path: str, seed: int, ids: list[str] | None, log: str) -> None:
    store = DemoStore.open_or_create(path, SPEC)
    with open(log, "a", buffering=1) as lines:
        for n, episode_id in enumerate(itertools.repeat(None) if ids is None else ids):
            try:
                outcome = {"id": store.append(made_episode(seed, n), episode_id)}
            except UserError as error:
                outcome = {"refused": str(error)}
            lines.write(json.dumps({"seed": seed, "n": n, **outcome}) + "\n")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the writers: leave no zombies
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            write(**json.loads(line))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
