"""What a recording in the simulator says on stderr: nothing that a user can do nothing about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, cwd=ROOT, env=env | environment, timeout=300
    )


def test_a_recording_says_one_line(tmp_path: Path) -> None:
    out = tmp_path / "demos"
    options = ["episodes=1", "workers=1", "env.image_size=16", "expert.miss_share=0", f"out={out}"]
    done = run(["-m", "s2robot.cli", "record", *options])
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("record: 1 of 1 demo in ")
    assert done.stderr.count("\n") == 1 and "\r" not in done.stderr


def test_an_egl_device_that_is_not_visible_is_named_in_one_line(tmp_path: Path) -> None:
    options = ["workers=0", f"out={tmp_path / 'demos'}"]
    device = {"MUJOCO_EGL_DEVICE_ID": "1", "CUDA_VISIBLE_DEVICES": "0"}
    done = run(["-m", "s2robot.cli", "record", *options], **device)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith("s2robot record: cannot render: MUJOCO_EGL_DEVICE_ID=1 is none of CUDA_VISIBLE")
    assert "Traceback" not in done.stderr


def test_gymnasiums_and_robosuites_advice_is_silenced_and_errors_are_not() -> None:
    code = """
import logging, warnings, envs
log = logging.getLogger("robosuite_logs")
log.warning("No private macro file found!")
log.error("an error")
from gymnasium import logger
logger.warn("Box low's precision lowered by casting to float32")
logger.warn("another warning")
"""
    said = run(["-c", code]).stderr
    assert "an error" in said and "another warning" in said
    assert "macro" not in said and "precision" not in said
