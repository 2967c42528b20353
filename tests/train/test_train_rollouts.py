"""Rollouts while a policy is trained: made beside it, made up for after a crash, told when they fail."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_loop import curves, refusal, s2robot, train, training

from s2robot.policy.checkpoint import load_policy
from s2robot.train.rollouts import CURVE

OPTIONS = (
    "cameras=[front]",
    "val_fraction=0.25",
    "evaluate_every=6",
    'evaluate=["starts=2","max_steps=3"]',
    "report=true",
)


@pytest.fixture(scope="module")
def out(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy_store, tmp_path_factory.mktemp("rollouts") / "policy", *OPTIONS)


@pytest.mark.slow
def test_snapshots_are_rolled_out_and_make_a_curve(out: Path) -> None:
    snapshots = sorted(path.name for path in (out / "rollouts").iterdir())
    assert snapshots == ["000006", "000012"]
    points = curves(out)[CURVE]
    assert [step for step, _ in points] == [6, 12]
    for name, (_, rate) in zip(snapshots, points, strict=True):
        evaluation = json.loads((out / "rollouts" / name / "evaluation" / "evaluation.json").read_text())
        assert (evaluation["trials"], evaluation["success_rate"]) == (2, rate)
    last = out / "rollouts" / "000012" / "model.safetensors"
    assert last.read_bytes() == (out / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_the_best_is_that_of_most_successes_and_of_equals_the_later(out: Path) -> None:
    assert {rate for _, rate in curves(out)[CURVE]} == {0.0}, "three steps are too few for any"
    assert (out / "best" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert load_policy(out / "best")


@pytest.mark.slow
def test_the_page_shows_curves_rollouts_and_what_made_them(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "default-src 'none'" in page and "<script" not in page
    headline = "A policy (transformer, l1 head) on random-tiny features (64 px) of front, trained on 4 demos"
    assert f"<h1>{headline}</h1>" in page
    assert "lowest validation loss (action)" in page and "0.0 % at step" in page and " M, the frozen" in page
    assert "trunk: transformer" in page and "name: random-tiny" in page
    for part in ("Rollouts", "<td>12<td>0.0 %", "waited for data", "Made with s2robot"):
        assert part in page
    assert json.loads((out / "run.json").read_text())["demos"][0]["sha256"] in page
    assert page.count("<svg") == 4, "total, action, grasp and success"


@pytest.mark.slow
def test_what_a_killed_training_left_undone_is_made_up_for(
    toy_store: Path, out: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copytree(out, tmp_path / "policy"))
    expected = curves(again)
    shutil.rmtree(again / "rollouts" / "000006" / "evaluation")
    shutil.rmtree(again / "rollouts" / "000012" / "evaluation")
    (again / "curves.json").write_text("{}")
    assert s2robot(*training(toy_store, again, *OPTIONS)) == 0
    assert curves(again) == expected


@pytest.mark.slow
def test_what_ended_after_the_training_was_killed_is_taken_in(
    toy_store: Path, out: Path, tmp_path: Path
) -> None:
    """Its process goes on without the training's, which would have kept the best and made the page."""
    again = Path(shutil.copytree(out, tmp_path / "policy"))
    shutil.rmtree(again / "best")
    (again / "report.html").unlink()
    assert s2robot(*training(toy_store, again, *OPTIONS)) == 0
    assert (again / "best" / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    assert (again / "report.html").is_file()


def test_rollouts_that_fail_are_told_and_the_checkpoint_stays(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option for option in OPTIONS if not option.startswith("evaluate=")]
    said = refusal(capsys, *training(toy_store, tmp_path, *options, 'evaluate=["starts=99"]'))
    assert f"the rollouts of {tmp_path}/rollouts/000006 failed (" in said
    assert "starts=99: expected 0 to 16" in said
    assert load_policy(tmp_path / "rollouts" / "000006")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_rollouts_end_with_their_training(toy_store: Path, tmp_path: Path, number: int, code: int) -> None:
    options = ["cameras=[front]", "steps=100000", "checkpoint_every=100000", "evaluate_every=2"]
    arguments = training(toy_store, tmp_path, *options, 'evaluate=["random_starts=5000"]')
    lock = tmp_path / "rollouts" / "000002" / "evaluation" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-m", "s2robot.cli", *arguments], stderr=subprocess.DEVNULL
    ) as process:
        while not (lock.is_file() and lock.stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        child = json.loads(lock.read_text())["process"]["pid"]
        process.send_signal(number)
        assert process.wait() == code
    assert (tmp_path / "training_state.pt").is_file() == (number == signal.SIGTERM)
    deadline = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < deadline, "the rollouts outlived their training"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "(zombie)" not in status.read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('evaluate=["strats=2"]', "unknown option 'strats'"),
        ("evaluate_every=-1", "evaluate_every=-1: expected 0 or more"),
    ],
)
def test_mistakes_are_told_before_training(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    out = tmp_path / "out"
    assert said in refusal(capsys, *training(toy_store, out, *OPTIONS[:3], option))
    assert not out.exists()
