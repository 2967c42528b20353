"""The script that measures rate and latency: that it measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from teleop_page import CHROMIUM

from tests.stress import teleop_latency as measure


def test_latency_is_from_a_press_to_the_first_note_before_the_next_press() -> None:
    presses, noted = [10.0, 11.0, 12.0], [9.0, 10.004, 10.05, 11.010, 11.9]
    assert measure.latencies(presses, noted) == {
        "presses": 2,
        "median_ms": pytest.approx(7.0),
        "p95_ms": pytest.approx(9.7),
        "worst_ms": pytest.approx(10.0),
    }


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium")
def test_a_session_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="needs the extra dev")
    measure.main(["--seconds", "3", "--out", str(tmp_path / "teleop.json"), "env=toy", "env.image_size=16"])
    result = json.loads((tmp_path / "teleop.json").read_text())
    assert [take["rate"] for take in result["takes"]] == [10.0, 10.0]
    assert all(0 < take["achieved_rate"] <= 10.5 and take["steps"] > 1 for take in result["takes"])
    for latency in (result["key_to_command"], result["key_to_step"]):
        assert latency["presses"] >= 4
        assert 0 < latency["median_ms"] <= latency["p95_ms"] <= latency["worst_ms"]
    assert result["key_to_command"]["median_ms"] <= result["key_to_step"]["median_ms"]
