"""A scripted expert takes over from a policy; the HG-DAgger round as one loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from toy_loop import refusal, s2robot

from s2robot.data.store import DemoStore
from s2robot.train.demos import collected_by


@pytest.fixture(scope="module")
def corrections(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demos in which the expert takes over from a policy that has learned next to nothing."""
    out = tmp_path_factory.mktemp("dagger") / "corrections"
    return toy_loop.record(out, 2, f"checkpoint={toy_checkpoint}", "takeover_after=3", "seed=5")


def test_the_expert_takes_over_and_only_its_steps_are_learned(
    corrections: Path, toy_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for demo in DemoStore.open(corrections).episodes():
        attributes = demo.attributes
        assert attributes["success"] and demo.length > 3
        assert attributes["by_person"] == [False] * 3 + [True] * (demo.length - 3)
        assert attributes["action_loss_mask"] == attributes["by_person"]
        assert attributes["policy"]["checkpoint"] == str(toy_checkpoint)
        assert collected_by(attributes) == "intervention"
        assert np.abs(demo.action[3:, :3]).max() > 0
    assert s2robot("demos", "list", corrections) == 0
    assert "steps by a person" in capsys.readouterr().out


def test_recorded_again_it_is_the_same(corrections: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    again = toy_loop.record(
        tmp_path / "again", 1, f"checkpoint={toy_checkpoint}", "takeover_after=3", "seed=5"
    )
    first, same = (DemoStore.open(path).episode("000000") for path in (corrections, again))
    np.testing.assert_array_equal(first.action, same.action)


def test_what_the_policy_finishes_alone_is_not_kept(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("record", "env=toy", "episodes=1", "workers=0", "attempts=1", f"out={tmp_path / 'out'}")
    said = refusal(capsys, *given, f"checkpoint={toy_checkpoint}", "takeover_after=100")
    assert "the expert failed, or the policy succeeded alone, 1 times at episode 0" in said
    assert not (tmp_path / "out").exists()


def test_the_round_from_takeover_to_comparison(
    toy_store: Path,
    toy_checkpoint: Path,
    corrections: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As docs/recording.md has it."""
    tuned, few = tmp_path / "tuned", ("steps=1", "batch_size=2", "encode_workers=0", "report=false")
    stores = f"demos=[{toy_store},{corrections}]"
    assert s2robot("train", f"init={toy_checkpoint}", stores, f"out={tuned}", "threads=1", *few) == 0
    assert json.loads((tuned / "run.json").read_text())["init"]["checkpoint"] == str(toy_checkpoint)
    evaluations = [tmp_path / "before", tmp_path / "after"]
    for checkpoint, out in zip((toy_checkpoint, tuned), evaluations, strict=True):
        given = ("evaluate", f"checkpoint={checkpoint}", f"out={out}", "starts=1", "workers=0")
        assert s2robot(*given, "max_steps=2") == 0
    capsys.readouterr()
    assert s2robot("compare", *evaluations) == 0
    assert "before" in capsys.readouterr().out
