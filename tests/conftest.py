"""For every test: no network, no screen, one thread a process. Set before torch and mujoco are imported."""

from __future__ import annotations

import os

from hypothesis import settings

from s2robot.gl import choose_gl

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
choose_gl()

# A slow machine is no failure; in CI the same examples every time.
settings.register_profile("s2robot", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("s2robot")
