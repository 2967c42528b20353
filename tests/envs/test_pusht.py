"""PushT, whose whole integration is configs/env/pusht.yaml."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from toy_loop import refusal, s2robot

from s2robot.data.store import DemoStore

needs_pusht = pytest.mark.skipif(find_spec("gym_pusht") is None, reason="pip install gym-pusht")


@needs_pusht
def test_it_is_recorded_by_its_yaml_alone(tmp_path: Path) -> None:
    given = ("env=pusht", "env.max_steps=5", "expert=random", "episodes=1", "workers=0")
    assert s2robot("record", *given, f"out={tmp_path / 'demos'}") == 0
    store = DemoStore.open(tmp_path / "demos")
    assert store.spec.cameras == {"top": (96, 96, 3)} and store.spec.rate == 10
    assert store.spec.proprio == ("x [px]", "y [px]")


@needs_pusht
def test_its_expert_pushes_the_t_onto_its_outline(tmp_path: Path) -> None:
    given = ("env=pusht", "expert=pusht", "episodes=1", "seed=0", "workers=0")
    assert s2robot("record", *given, f"out={tmp_path / 'demos'}") == 0
    assert DemoStore.open(tmp_path / "demos").episode("000000").attributes["success"] is True


def test_its_expert_is_for_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "record", "env=toy", "expert=pusht", "workers=0", f"out={tmp_path / 'demos'}")
    assert "expert=pusht is that of env=pusht, not of Toy" in line
