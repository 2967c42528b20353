"""Freed memory is reused by the process that asked for it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from s2robot.utils.allocator import without_collections

CHILD = """
import resource
import numpy as np
from s2robot.utils.allocator import keep_freed_memory
if {keep}:
    keep_freed_memory()
np.ones(20_000_000, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(20_000_000, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    child = [sys.executable, "-c", CHILD.format(keep=keep)]
    return int(subprocess.run(child, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_blocks_that_were_freed_are_not_asked_for_anew() -> None:
    assert page_faults(keep=True) * 5 < page_faults(keep=False)


def test_imports_are_not_searched_for_garbage() -> None:
    try:
        with without_collections():
            assert not gc.isenabled()
        assert gc.isenabled() and gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
