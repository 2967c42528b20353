"""The whole loop by one command, on the toy: what is complete is reused, what has changed is noticed."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from toy_loop import ENCODER, TRAIN, refusal, s2robot


def listed(*options: str) -> str:
    return "[" + ",".join(f'"{option}"' for option in options) + "]"


def arguments(out: Path, evaluate: tuple[str, ...] = (), **changes: object) -> list[str]:
    settings = {"out": out, "episodes": 2, "steps": 4, "workers": 0} | changes
    return [
        "quickstart",
        *(f"{name}={value}" for name, value in settings.items()),
        f"record={listed('env=toy', 'expert=toy', 'env.cameras=[front]')}",
        f"encode={listed(*ENCODER)}",
        f"train={listed(*(o for o in TRAIN if o not in ENCODER and not o.startswith('steps=')))}",
        f"evaluate={listed('starts=2', 'max_steps=3', *evaluate)}",
    ]


def announced(text: str) -> list[str]:
    """The stages that ran, in their order."""
    return [
        line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("== ") and ":" in line
    ]


def made(out: Path) -> dict[str, int]:
    """Every file with the time it was written, but for the stages' times."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "stages.json")
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quick") / "start"
    with redirect_stdout(StringIO()) as said:
        assert s2robot(*arguments(out)) == 0
    (out / "said.txt").write_text(said.getvalue())
    return out


@pytest.fixture
def out(first: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to go on with. Its checkpoint was made elsewhere, its store is the same."""
    return Path(shutil.copytree(first, tmp_path / "start"))


def test_every_stage_leaves_its_result(first: Path) -> None:
    assert len(list((first / "demos").glob("0*"))) == 2
    assert len(list((first / "features").glob("*/*/front.npy"))) == 2
    assert (first / "checkpoint" / "model.safetensors").is_file()
    assert (first / "report.html").read_text().count("data:video/mp4") == 2
    evaluation = json.loads((first / "evaluation.json").read_text())
    assert evaluation["trials"] == 2
    assert evaluation["config"]["training"]["steps"] == 4


def test_every_stage_is_announced_and_timed(first: Path) -> None:
    said = (first / "said.txt").read_text()
    assert announced(said) == ["record", "encode", "train", "evaluate"]
    assert said.count(" took ") == 4
    last = said.splitlines()[-1]
    assert last.startswith("picked up the cube in ") and "of 2 rollouts" in last
    assert last.endswith(f": open {first / 'report.html'}")
    assert set(json.loads((first / "stages.json").read_text())) == {"record", "encode", "train", "evaluate"}
    assert "Time of each stage" in (first / "report.html").read_text()


def test_run_again_it_does_nothing_twice(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, times = made(first), json.loads((first / "stages.json").read_text())
    assert s2robot(*arguments(first)) == 0
    said = capsys.readouterr().out
    assert made(first) == before
    assert "evaluate" not in announced(said)
    assert said.splitlines()[-1].startswith("picked up the cube in ")
    after = json.loads((first / "stages.json").read_text())
    assert all(after[name] >= seconds for name, seconds in times.items()), "the time that it took remains"


def test_an_evaluation_that_was_not_finished_is_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert s2robot(*arguments(out)) == 0  # elsewhere than the first: evaluated once here
    (out / "evaluation.json").unlink()
    capsys.readouterr()
    assert s2robot(*arguments(out)) == 0
    assert "evaluate" in announced(capsys.readouterr().out)
    assert (out / "evaluation.json").is_file()


def test_other_options_of_the_evaluation_are_noticed(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (out / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    assert s2robot(*arguments(out, evaluate=("random_starts=1",))) == 0
    assert "evaluate" in announced(capsys.readouterr().out)
    assert json.loads((out / "evaluation.json").read_text())["random_starts"]["trials"] == 1
    assert (out / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before


def test_another_checkpoint_is_noticed(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert s2robot(*arguments(out)) == 0
    shutil.rmtree(out / "checkpoint")
    capsys.readouterr()
    assert s2robot(*arguments(out, steps=5)) == 0
    assert "evaluate" in announced(capsys.readouterr().out)
    assert json.loads((out / "evaluation.json").read_text())["config"]["training"]["steps"] == 5


@pytest.mark.parametrize(
    ("change", "value", "told"),
    [("steps", 3, "holds another training: steps 4 -> 3"), ("episodes", 3, "000002: give the same")],
)
def test_a_checkpoint_of_other_options_or_demos_is_not_passed_off_as_new(
    out: Path, capsys: pytest.CaptureFixture[str], change: str, value: int, told: str
) -> None:
    before = (out / "checkpoint" / "model.safetensors").read_bytes()
    said = refusal(capsys, *arguments(out, **{change: value}))
    assert told in said
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == before


def test_another_seed_does_not_mix_with_the_demos_there(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds demos recorded with other options" in refusal(capsys, *arguments(out, seed=1))


def test_a_mistake_in_a_stages_options_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a for a in arguments(tmp_path / "start") if not a.startswith("record=")]
    assert "episdes" in refusal(capsys, *given, 'record=["episdes=3"]')
