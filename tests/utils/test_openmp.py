"""The wait of torch's threads is set by the command line, and left alone where the environment sets it."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, sys
from s2robot import cli
def show(name, overrides):
    assert "torch" not in sys.modules
    print(os.environ.get("GOMP_SPINCOUNT"))
    return 0
cli.run_command = show
sys.exit(cli.main(["train"]))
"""


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None"),
    ],
)
def test_threads_wait_as_told_before_torch_is_imported(given: dict[str, str], spins: str) -> None:
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=inherited | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [spins]
