"""gymnasium's own vector environments, in processes forked and spawned."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, gymnasium, numpy as np
import envs
if __name__ == "__main__":
    if "rendered" in sys.argv:
        gymnasium.make("s2robot/CubePick-v0", image_size=16).reset(seed=0)
    more = {"context": "spawn"} if "spawn" in sys.argv else {}
    vector = gymnasium.make_vec("s2robot/CubePick-v0", num_envs=2, vectorization_mode="async", image_size=16,
                                vector_kwargs=more)
    observation, _ = vector.reset(seed=0)
    vector.step(vector.action_space.sample())
    print(observation["images"]["front"].shape, len(np.unique(observation["images"]["front"])) > 10)
    vector.close()
"""


def run(tmp_path: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f"{tmp_path}/vector.py"
    with open(script, "w") as file:
        file.write(SCRIPT)
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_asynchronous_environments_render(tmp_path: object, context: str) -> None:
    ran = run(tmp_path, context)
    assert (ran.returncode, ran.stdout) == (0, "(2, 16, 16, 3) True\n"), ran.stderr


def test_a_fork_of_a_process_that_has_rendered_is_refused(tmp_path: object) -> None:
    ran = run(tmp_path, "rendered")
    assert ran.returncode == 1
    assert 'forked from one that renders, and OpenGL would hang: use context="spawn"' in ran.stderr
