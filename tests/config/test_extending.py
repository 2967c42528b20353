"""The recipes of docs/extending.md, done in a temporary folder through the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_loop import TRAIN, s2robot

from s2robot.config.defaults import VARIABLE
from s2robot.data.formats import FORMATS
from s2robot.data.store import DemoStore
from s2robot.policy.registry import TRUNKS
from s2robot.teleop.devices import DEVICES

GUIDE = (Path(__file__).parents[2] / "docs/extending.md").read_text()
FILES = dict(re.findall(r"^```\w+\n# FOLDER/(\S+)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the guide, in a folder of one's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("PYTHONPATH", "")
    for name, text in FILES.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return tmp_path / "own"


def test_an_environment(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, demos, policy = f"--config-dir={folder}", tmp_path / "demos", tmp_path / "policy"
    assert s2robot("record", own, "--help") == 0
    assert "env=reach" in capsys.readouterr().out
    given = (own, "env=reach", "expert._target_=reach.Expert", "episodes=3")
    assert s2robot("record", *given, f"out={demos}", "workers=2") == 0
    store = DemoStore.open(demos)
    assert [store.episode(i).attributes["instruction"] for i in store.ids()] == ["move to the square"] * 3
    assert s2robot("train", own, f"demos={demos}", f"out={policy}", *TRAIN) == 0
    out = tmp_path / "evaluation"
    given = (own, f"checkpoint={policy}", "starts=2", "workers=2", "max_steps=3")
    assert s2robot("evaluate", *given, f"out={out}") == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert (result["trials"], result["task"]["name"]) == (2, "Reach")
    assert {rollout["start"]["place"] for rollout in result["rollouts"]} == {None}


def test_a_recorded_environment_without_its_folder_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demos = tmp_path / "demos"
    given = ("env=reach", "expert._target_=reach.Expert", "episodes=1", "workers=0")
    assert s2robot("record", f"--config-dir={folder}", *given, f"out={demos}") == 0
    monkeypatch.setenv(VARIABLE, "")
    capsys.readouterr()
    assert s2robot("demos", "replay", demos) != 0
    captured = capsys.readouterr()
    assert "'reach:Reach-v0', which is in no file of --config-dir" in captured.out + captured.err


def test_an_encoder(folder: Path, toy_demos: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    given = (f"demos={toy_demos}", "encoder=patches", f"features={features}", "workers=0", "bf16=false")
    assert s2robot("encode", f"--config-dir={folder}", *given) == 0
    assert any(features.iterdir())


def test_a_trunk(folder: Path, toy_demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRUNKS, "gru", "gru:Gru")
    own = [option for option in TRAIN if not option.startswith("policy.transformer")]
    given = (f"demos={toy_demos}", "policy.trunk=gru", "+policy.gru.layers=2", *own)
    assert s2robot("train", f"--config-dir={folder}", *given, f"out={tmp_path / 'policy'}") == 0
    assert "layers: 2" in (tmp_path / "policy/config.yaml").read_text()


def test_a_format(folder: Path, toy_demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "csv", "csv_format:Csv")
    given = ("format=csv", f"demos={toy_demos}", "+options.separator=;")
    assert s2robot("export", f"--config-dir={folder}", *given, f"out={tmp_path / 'tables'}") == 0
    store = DemoStore.open(toy_demos)
    for name in store.ids():
        table = np.loadtxt(tmp_path / "tables" / f"{name}.csv", delimiter=";", dtype=np.float32)
        np.testing.assert_array_equal(table, store.episode(name).action)


def test_a_device(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "wheel", "wheel:KIND")
    given = ("env=toy", "teleop=wheel", "workers=0", f"out={tmp_path / 'by_hand'}")
    assert s2robot("record", f"--config-dir={folder}", *given) == 0
    assert DemoStore.open(tmp_path / "by_hand").ids() == []
