"""Sweeps: every combination, one table, mistakes told before or beside the rest."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mistakes import refusal
from toy_loop import TRAIN, s2robot

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.sweep.command import SweepOptions, check_sweep, hydra_arguments
from s2robot.sweep.table import cells, collect, write_results

DATA = (".json", ".safetensors")
ROOT = Path(__file__).parents[2]


def listed(*options: str) -> str:
    return "[" + ",".join(f'"{option}"' for option in options) + "]"


def options(*overrides: str) -> SweepOptions:
    return read_options(SweepOptions, compose("sweep", ["out=x", 'train=["demos=a"]', *overrides]))


def test_the_options_that_vary_are_named() -> None:
    over = listed("lr=1e-3,3e-4", "seed=range(0,3)", "policy=mlp,transformer", "cameras=[front],[wrist]")
    assert check_sweep(options(f"over={over}")) == (["lr", "seed", "policy", "cameras"], 24)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (['over=["lr=fast,slow"]'], "lr=fast: expected a number (default 0.001)"),
        (['over=["lrr=1,2"]'], "unknown option 'lrr': did you mean 'lr'?"),
        (['over=["policy=mlp,tree"]'], "unknown policy 'tree'"),
        (['over=["policy.trunk=mlp,tree"]'], "unknown trunk 'tree'"),
        (['over=["seed=1"]'], "over: seed=1: expected several values, name=a,b"),
        ([], "over=[]: name options of train with their values"),
        (['over=["seed=1,2"]', "launcher=slrm"], "unknown launcher 'slrm': did you mean 'slurm'?"),
        (
            ['over=["seed=1,2"]', 'evaluate=["random_start=1"]'],
            "unknown option 'random_start': did you mean 'random_starts'?",
        ),
        (['over=["seed=1,2"]', 'train=["steps=3"]'], "demos is missing: give demos=PATH"),
    ],
)
def test_a_mistake_in_any_value_is_told_before_any_job(overrides: list[str], said: str) -> None:
    assert refusal(lambda: check_sweep(options(*overrides))).startswith(said)


def test_hydra_is_told_where_and_how() -> None:
    given_options = options(
        'over=["seed=0,1"]', "launcher=slurm", 'options=["partition=gpu"]', 'evaluate=["random_starts=1"]'
    )
    given = hydra_arguments(given_options, Path("/runs/sweep"))
    assert given[0] == "--multirun"
    assert {"hydra.sweep.dir=/runs/sweep", "hydra/launcher=submitit_slurm", "seed=0,1"} <= set(given)
    assert {"hydra.launcher.partition=gpu", "+evaluation=['random_starts=1']", "+common=['demos=a']"} <= set(
        given
    )


def job(folder: Path, options: list[str], curves: dict[str, Any] | None, error: str | None = None) -> None:
    (folder / "policy" / "evaluation").mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"options": options, "error": error}))
    if curves is not None:
        (folder / "policy" / "curves.json").write_text(json.dumps(curves))
        shutil.copy(ROOT / "docs/results/full120.json", folder / "policy" / "evaluation" / "evaluation.json")


def test_results_are_one_row_a_job_of_this_sweep_in_their_order(tmp_path: Path) -> None:
    scores = [[5, 0.3], [10, 0.2], [15, 0.25]]
    job(tmp_path / "2", ["demos=a", "lr=1"], {"action/train": [[15, 0.1]], "action/validation": scores})
    job(tmp_path / "10", ["demos=a", "lr=2"], None, "no such camera")
    job(tmp_path / "11", ["demos=a", "lr=3"], None)
    rows = collect(tmp_path, ["lr"], 11)
    assert [row["job"] for row in rows] == ["2", "10"]
    assert (rows[0]["lr"], rows[0]["action/validation"], rows[0]["best"]) == ("1", 0.25, 0.2)
    assert (rows[0]["successes"], rows[0]["random_starts"], rows[0]["error"]) == ("16/16", "99/100", None)
    assert (rows[1]["action/train"], rows[1]["error"]) == (None, "no such camera")
    assert cells(rows)[1][2:] == ["-"] * 6 + ["no such camera"]
    write_results(tmp_path, rows)
    assert json.loads((tmp_path / "results.json").read_text()) == rows
    with open(tmp_path / "results.csv") as file:
        assert [row["job"] for row in csv.DictReader(file)] == ["2", "10"]


def sweep(store: Path, out: Path, *over: str, launcher: str = "basic", evaluate: str = "null") -> int:
    common = (
        f"demos={store}",
        *(o for o in TRAIN if not o.startswith("steps=")),
        "steps=2",
    )
    return s2robot(
        *("sweep", f"out={out}", f"launcher={launcher}", f"train={listed(*common)}"),
        *(f"over={listed(*over)}", f"evaluate={evaluate}"),
    )


def written(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.glob("[02]/**/*") if path.suffix in DATA}


def test_every_combination_is_trained_and_a_failure_is_its_own(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(toy_store, tmp_path / "sweep", "cameras=[front],[nope],[wrist]") == 1
    rows = json.loads((tmp_path / "sweep" / "results.json").read_text())
    assert [row["cameras"] for row in rows] == ["[front]", "[nope]", "[wrist]"]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[1]["error"].startswith("unknown camera 'nope'")
    assert rows[0]["action/train"] != rows[2]["action/train"]
    assert "unknown camera 'nope'" in capsys.readouterr().out
    assert sweep(toy_store, tmp_path / "sweep", "cameras=[front],[nope],[nope]") == 1
    rows = json.loads((tmp_path / "sweep" / "results.json").read_text())
    assert rows[2]["action/train"] is None, "what lies there is another training's"
    assert sweep(toy_store, tmp_path / "sweep", "cameras=[front],[nope],[wrist]") == 1
    before = written(tmp_path / "sweep")
    assert sweep(toy_store, tmp_path / "sweep", "cameras=[front],[nope],[wrist]") == 1
    assert written(tmp_path / "sweep") == before, "what is finished is left as it is"


def test_an_evaluation_with_other_options_is_not_replaced(toy_store: Path, tmp_path: Path) -> None:
    def evaluated(starts: int) -> int:
        options = listed(f"starts={starts}", "max_steps=2", "workers=0")
        return sweep(toy_store, tmp_path / "sweep", "seed=0,1", evaluate=options)

    assert evaluated(1) == 0
    path = tmp_path / "sweep" / "0" / "policy" / "evaluation" / "evaluation.json"
    before = path.read_bytes()
    for _ in range(2):  # not at a second try either
        assert evaluated(2) == 1
        assert path.read_bytes() == before


@pytest.mark.slow
def test_submitit_runs_jobs_on_this_machine(toy_store: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    assert sweep(toy_store, tmp_path / "sweep", "seed=0,1", launcher="local") == 0
    rows = json.loads((tmp_path / "sweep" / "results.json").read_text())
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert rows[0]["action/train"] != rows[1]["action/train"]
    assert list((tmp_path / "sweep" / ".submitit").iterdir())
