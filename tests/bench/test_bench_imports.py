"""The measurement of imports: every format, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_loop


@pytest.mark.slow
def test_the_memory_of_every_import_is_bounded(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    assert (
        toy_loop.s2robot("bench", "imports", f"out={out}", f"scratch={tmp_path}", "imports.frames=600") == 0
    )
    result = json.loads(out.read_text())
    assert set(result["formats"]) == {"diffusion_policy", "lerobot_image", "lerobot_video", "robomimic"}
    assert result["frames_mb"] == pytest.approx(138.24)
    assert all(0.05 < row["peak_memory_gb"] < 1.0 for row in result["formats"].values())
