"""The tutorial on data of others, from nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pages import run_tutorial

from s2robot.data.store import DemoStore


@pytest.mark.slow
def test_the_tutorial_on_own_data(tmp_path: Path) -> None:
    run_tutorial("2_own_data", tmp_path)
    mine, again = (DemoStore.open(tmp_path / "runs" / name) for name in ("mine", "from_zarr"))
    assert mine.spec.proprio[:1] == again.spec.proprio and len(again.ids()) == 6
    np.testing.assert_array_equal(mine.episode("000000").action, again.episode("000000").action)
    assert (tmp_path / "runs/policy/model.safetensors").exists()
