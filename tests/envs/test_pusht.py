"""PushT, whose whole integration is configs/env/pusht.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_loop import s2robot

from s2robot.data.store import DemoStore

pytest.importorskip("gym_pusht")


def test_it_is_recorded_by_its_yaml_alone(tmp_path: Path) -> None:
    given = ("env=pusht", "env.max_steps=5", "expert=random", "episodes=1", "workers=0")
    assert s2robot("record", *given, f"out={tmp_path / 'demos'}") == 0
    store = DemoStore.open(tmp_path / "demos")
    assert store.spec.cameras == {"top": (96, 96, 3)} and store.spec.rate == 10
    assert store.spec.proprio == ("x [px]", "y [px]")
