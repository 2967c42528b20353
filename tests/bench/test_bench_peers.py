"""Our training beside other projects': what is asked of them and what comes of it; slow: they themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from torch import nn

from s2robot.bench import own_training
from s2robot.bench.peer_training import measured

FOUND = {"steps": 4, "trained_parameters": 2_000_000, "frozen_parameters": 0, "peak_memory": 3_000_000_000}
OWN = FOUND | {"seconds": 1.0, "image_size": [224, 448], "frozen_parameters": 5_500_000}
OWN |= {"usual_windows": 1400 * 4, "encode_seconds_a_window": 0.5}


def environment(folder: Path, answer: str) -> Path:
    """One whose Python has lerobot, by its own account, and notes what else it is asked."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\ncase "$2" in -c) echo 0.6.1; exit;; esac\necho "$3" >> {folder}/asked\n{answer}\n'
    )
    python.chmod(0o755)
    return folder


def peers(demos: Path, out: Path, *options: str) -> tuple[str, ...]:
    training = ",".join(f'"{option}"' for option in toy_loop.TRAIN)
    given = (f"demos={demos}", f"out={out}", f"training=[{training}]", "threads=1", "peers.episodes=2")
    return "bench", "peers", *given, *options


def test_each_gets_the_same_and_one_that_fails_is_a_row(
    toy_demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(own_training, "train", lambda *_: OWN)
    found = json.dumps(FOUND | {"seconds": 8.0, "image_size": [216, 216], "usual_epochs": 600})
    theirs = environment(tmp_path / "theirs", f"echo '{found}'")
    fails = 'case "$3" in *diffusion*) kill -9 $$;; esac; echo "OSError: no backbone" >&2; exit 1'
    lerobot = environment(tmp_path / "lerobot", f"echo warning >&2; {fails}")
    options = (f"lerobot.environment={lerobot}", f"peers.diffusion_policy.environment={theirs}")
    options += (f"peers.diffusion_policy.code={tmp_path}", "peers.steps=7", "peers.seconds=9")
    assert toy_loop.s2robot(*peers(toy_demos, tmp_path / "peers.json", *options)) == 0

    result = json.loads((tmp_path / "peers.json").read_text())
    rows, windows = result["policies"], result["windows_of_all_demos"]
    assert (result["demos"], result["batch_size"], result["threads"]) == (2, 4, 1)
    assert rows["lerobot act"] == {"failed": "OSError: no backbone"}
    assert "ended by signal 9" in rows["lerobot diffusion"]["failed"]
    own, other = rows["s2robot"], rows["diffusion_policy"]
    assert (own["windows_per_second"], other["windows_per_second"]) == (16, 2)
    assert own["usual_hours"] == pytest.approx((1400 * 4 / 16 + windows * 0.5) / 3600)
    assert own["windows_per_second_with_encoding"] == pytest.approx(1400 * 4 / own["usual_hours"] / 3600)
    assert other["usual_hours"] == pytest.approx(600 * windows / 2 / 3600)

    asked = [json.loads(line) for line in (lerobot / "asked").read_text().splitlines()]
    asked += [json.loads((theirs / "asked").read_text())]
    same = {"batch_size": 4, "threads": 1, "seed": 0, "steps": 7, "seconds": 9.0}
    assert [{name: a[name] for name in same} for a in asked] == [same] * 3
    assert [a.get("policy") for a in asked] == ["act", "diffusion", None]
    assert asked[2]["code"] == str(tmp_path)
    assert "failed: OSError: no backbone" in capsys.readouterr().out


def test_a_clone_without_its_environment_is_refused(
    toy_demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = peers(
        toy_demos, tmp_path / "peers.json", "peers.lerobot=[]", "peers.diffusion_policy.code=clone"
    )
    assert "needs both, code=CLONE and environment=FOLDER" in toy_loop.refusal(capsys, *command)


def test_the_first_step_does_not_count() -> None:
    policy = nn.Linear(3, 2)
    policy.bias.requires_grad_(False)
    losses: Callable[[], Any] = iter([3.0, 2.0, 1.0, 0.0]).__next__
    found = measured(losses, policy, steps=2, seconds=0)
    assert (found["steps"], found["losses"]) == (2, [3.0, 2.0, 1.0])
    assert (found["trained_parameters"], found["frozen_parameters"]) == (6, 2)
    assert found["seconds"] >= 0 and found["peak_memory"] > 0


@pytest.mark.slow
def test_ours_is_encoded_and_trained_in_a_process_of_its_own(toy_demos: Path, tmp_path: Path) -> None:
    options = ("peers.lerobot=[]", "peers.steps=2", "peers.seconds=0")
    assert toy_loop.s2robot(*peers(toy_demos, tmp_path / "peers.json", *options)) == 0
    row = json.loads((tmp_path / "peers.json").read_text())["policies"]["s2robot"]
    assert row["steps"] == 2 and len(row["losses"]) == 3 and np.isfinite(row["losses"]).all()
    assert row["image_size"] == [64] and row["frozen_parameters"] > row["trained_parameters"] > 0
    assert 0 < row["windows_per_second_with_encoding"] < row["windows_per_second"]


def _variable(name: str) -> str:
    if name not in os.environ:
        pytest.skip(f"{name} is not set")
    return os.environ[name]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["act", "diffusion"])
def test_lerobot_trains_its_policies_as_it_configures_them(
    toy_demos: Path, tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_training, "train", lambda *_: OWN)
    options = (f"lerobot.environment={_variable('S2ROBOT_LEROBOT')}", f"peers.lerobot=[{policy}]")
    options += ("peers.steps=2", "peers.seconds=0")
    assert toy_loop.s2robot(*peers(toy_demos, tmp_path / "peers.json", *options)) == 0
    row = json.loads((tmp_path / "peers.json").read_text())["policies"][f"lerobot {policy}"]
    assert "failed" not in row, row
    assert row["trained_parameters"] > 40e6, "ResNet-18 and what lerobot has above it"
    assert row["usual_windows"] == 800_000
    assert len(set(row["losses"])) == 3 and np.isfinite(row["losses"]).all()


@pytest.mark.slow
def test_diffusion_policys_own_code_trains(
    toy_demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2ROBOT_DIFFUSION_POLICY names an environment, S2ROBOT_DIFFUSION_POLICY_CODE a clone."""
    monkeypatch.setattr(own_training, "train", lambda *_: OWN)
    made, code = map(_variable, ("S2ROBOT_DIFFUSION_POLICY", "S2ROBOT_DIFFUSION_POLICY_CODE"))
    options = (f"peers.diffusion_policy.environment={made}", f"peers.diffusion_policy.code={code}")
    options += ("peers.lerobot=[]", "peers.steps=2", "peers.seconds=0")
    assert toy_loop.s2robot(*peers(toy_demos, tmp_path / "peers.json", *options)) == 0
    row = json.loads((tmp_path / "peers.json").read_text())["policies"]["diffusion_policy"]
    assert "failed" not in row, row
    assert row["image_size"] == [216, 216] and row["trained_parameters"] > 80e6
    assert len(set(row["losses"])) == 3 and np.isfinite(row["losses"]).all()
