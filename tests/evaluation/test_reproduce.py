"""An experiment of many arms: what is planned and run, that it goes on, and what is reported of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_loop import TRAIN, refusal, s2robot

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.reproduce import command
from s2robot.reproduce.options import ReproduceOptions
from s2robot.reproduce.table10.plan import (
    CELLS,
    PLANNED,
    PLANNED_CONDITIONED,
    PLANNED_DROPOUT,
    PLANNED_FINE_GRID,
    PLANNED_TINY_CUBE,
    arm_named,
    chosen_arms,
    seeds_of,
)
from s2robot.reproduce.table10.report import planned_comparisons, read_arms, render
from s2robot.reproduce.table10.work import ArmWork
from s2robot.tasks.cube_pick import CubePickTask

ROOT = Path(command.__file__).parents[2]
TINY = "['encoder.name=random-tiny']"


def listed(*options: str) -> str:
    return "[" + ",".join(f"'{option}'" for option in options) + "]"


def arguments(folder: Path, *options: str) -> list[str]:
    training = [o for o in TRAIN if not o.startswith(("encoder.", "steps="))]
    return [
        *("reproduce", "table10", f"out={folder / 'out'}", f"results={folder / 'results'}"),
        *(
            "episodes=2",
            "steps=2",
            "starts=1",
            "random_starts=3",
            "workers=0",
            f"small={TINY}",
            f"large={TINY}",
        ),
        *(f"record={listed('env=toy', 'expert=toy')}", f"train={listed(*training)}"),
        *(f"evaluate={listed('max_steps=2')}", "cells=[headline]", "arms=[small-1x,large-1x]"),
        *("seeds=[0,1]", *options),
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced")
    assert s2robot(*arguments(folder)) == 0
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Iterator[Path]:
    """The same run, to go on with; it must lie where it was made, since commands name its folder."""
    kept = shutil.copytree(done, tmp_path / "kept")
    yield done
    shutil.rmtree(done)
    shutil.copytree(kept, done)


def raw(folder: Path) -> dict[str, dict[str, Any]]:
    return {f.stem: json.loads(f.read_text()) for f in sorted((folder / "results").glob("*_seed*.json"))}


def test_every_arm_is_run_at_every_seed_on_the_same_positions(done: Path) -> None:
    outcomes = raw(done)
    assert list(outcomes) == ["large-1x_seed0", "large-1x_seed1", "small-1x_seed0", "small-1x_seed1"]
    places = [
        [(json.dumps(p["start"]), p["seed"]) for p in o["random_starts"]["rollouts"]]
        for o in outcomes.values()
    ]
    assert places == [places[0]] * 4 and len(places[0]) == 3
    seeds = [o["config"]["training"]["seed"] for o in outcomes.values()]
    assert seeds == [0, 1, 0, 1]
    assert {o["config"]["demos_sha256"] for o in outcomes.values()} == {
        outcomes["large-1x_seed0"]["config"]["demos_sha256"]
    }


def test_the_report_is_computed_from_the_raw_outcomes(done: Path) -> None:
    page = (done / "results" / "report.md").read_text()
    assert page == render(read_arms(done / "results"))
    total = sum(
        o["random_starts"]["successes"] for name, o in raw(done).items() if name.startswith("small-1x")
    )
    assert "| small-1x | 2 | " in page and f"| {total}/6 |" in page


def test_a_figure_that_is_not_in_the_raw_outcomes_is_not_in_the_report(copy: Path) -> None:
    file = copy / "results" / "small-1x_seed1.json"
    evaluation = json.loads(file.read_text())
    for outcome in evaluation["random_starts"]["rollouts"]:
        outcome["success"] = True
    evaluation["random_starts"]["successes"] = evaluation["random_starts"]["trials"]
    file.write_text(json.dumps(evaluation))
    arms = read_arms(copy / "results")
    assert "/6 |" in render(arms) and render(arms) != (copy / "results" / "report.md").read_text()
    assert (
        arms["small-1x"]
        .table("random_starts", list(arms["small-1x"].evaluations[0].outcomes("random_starts")))[1]
        .all()
    )


def test_run_again_it_does_nothing(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert s2robot(*arguments(done)) == 0
    said = capsys.readouterr().out
    assert "== s2robot" not in said and "4 of 4 done" in said
    commands = (done / "results" / "commands.txt").read_text()
    assert s2robot(*arguments(done, "arms=[small-1x]", "seeds=[0]")) == 0
    assert (done / "results" / "commands.txt").read_text() == commands, "of all that is there"


def test_what_is_missing_is_made_again_and_is_the_same(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "results" / "large-1x_seed1.json").read_text()
    (copy / "results" / "large-1x_seed1.json").unlink()
    (copy / "out" / "evaluations" / "large-1x_seed1" / "evaluation.json").unlink()
    capsys.readouterr()
    assert s2robot(*arguments(copy, "plan_only=true")) == 0
    said = capsys.readouterr().out
    assert "left  large-1x_seed1" in said and "3 of 4 done" in said
    assert not (copy / "results" / "large-1x_seed1.json").exists(), "a dry run runs nothing"
    assert s2robot(*arguments(copy)) == 0
    after = json.loads((copy / "results" / "large-1x_seed1.json").read_text())
    assert (
        after["random_starts"] == json.loads(before)["random_starts"]
        and after["rollouts"] == json.loads(before)["rollouts"]
    )


def test_other_options_are_refused(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, *arguments(done, "steps=3"))
    assert "holds small-1x_seed0, made with other options" in said
    said = refusal(capsys, *arguments(done, "steps=3", f"results={done / 'elsewhere'}"))
    assert "was begun with other options" in said


def test_what_was_made_elsewhere_is_gone_on_with(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Raw outcomes travel with the repository; demos, features and policies do not."""
    shutil.rmtree(copy / "out")
    capsys.readouterr()
    assert s2robot(*arguments(copy, f"out={copy / 'elsewhere'}", "workers=1", "plan_only=true")) == 0
    assert "4 of 4 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("cells=[hedline]", "unknown cell 'hedline': did you mean 'headline'?"),
        ("arms=[small]", "unknown arm 'small'"),
        ("what=table11", "unknown what 'table11': did you mean 'table10'?"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str
) -> None:
    given = [a for a in arguments(tmp_path) if a != "table10"]
    assert told in refusal(capsys, *given, option)


@pytest.mark.parametrize("plan_only", ["true", "false"])
@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("train=['nonsense=1']", "unknown option 'nonsense'"),
        ("record=['env=toy','expert=toi']", "unknown expert 'toi'"),
        ("evaluate=['perturbation=fog']", "unknown perturbation 'fog'"),
        ("seeds=[-1]", "seeds=-1: expected 0 or more"),
        ("large=['encoder=small']", "small is an architecture: give checkpoint=PATH too"),
        ("large=['encoder.checkpoint=nowhere.safetensors']", "no encoder weights at nowhere.safetensors"),
    ],
)
def test_what_a_stage_would_refuse_is_refused_before_anything_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str, plan_only: str
) -> None:
    assert told in refusal(capsys, *arguments(tmp_path, option, f"plan_only={plan_only}"))
    assert not (tmp_path / "out" / "demos").exists()


def test_more_starts_than_the_task_has_are_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a for a in arguments(tmp_path, "starts=99") if not a.startswith(("record=", "starts=1"))]
    said = refusal(capsys, *given, "starts=99", "plan_only=true")
    assert "starts=99: expected 0 to 16, the fixed starts of cube_pick" in said


def test_published_outcomes_are_known_as_the_plan_s(capsys: pytest.CaptureFixture[str]) -> None:
    """Made before some options existed: they are gone on with, and `commands.txt` lists what made them."""
    folder = ROOT / "docs" / "results" / "table10"
    assert s2robot("reproduce", "table10", f"results={folder}", "plan_only=true") == 2
    said = capsys.readouterr()
    assert "give checkpoint=PATH too" in said.err, "the weights of `encoder=small`, for what is left"
    made = [f.stem for f in folder.glob("*_seed*.json")]
    done = [line.split()[1] for line in said.out.splitlines() if line.startswith("done")]
    assert set(made) == set(done)
    commands = (folder / "commands.txt").read_text()
    assert [name for name in made if f"evaluations/{name} " not in commands] == []


# The plan itself


def plain(*overrides: str) -> ReproduceOptions:
    return read_options(ReproduceOptions, compose("reproduce", overrides))


def test_arms_have_names_of_their_own_and_every_comparison_has_its_arms() -> None:
    names = [arm.name for cell in CELLS.values() for arm in cell]
    assert len(set(names)) == len(names)
    assert {
        name
        for pair in (
            *PLANNED,
            *PLANNED_CONDITIONED,
            *PLANNED_DROPOUT,
            *PLANNED_FINE_GRID,
            *PLANNED_TINY_CUBE,
        )
        for name in pair
    } <= set(names)
    assert PLANNED[0] == ("small-s2", "large-1x"), "the claim"


def test_an_arm_of_a_part_of_the_frame_is_trained_on_that_part() -> None:
    train = ArmWork(arm_named("small-1x-crop-20mm"), 0, plain()).commands()[1]
    assert "encoder.crop.front=[0.27,0.55,0.73,0.78]" in train.overrides
    whole = ArmWork(arm_named("small-1x-20mm"), 0, plain()).commands()[1]
    assert not [option for option in whole.overrides if option.startswith("encoder.crop")]


@pytest.mark.parametrize("cell", CELLS)
def test_every_command_of_the_plan_is_one_that_its_verb_takes(cell: str) -> None:
    works = [ArmWork(arm, 0, plain()) for arm in chosen_arms([cell], None)]
    for verb_name, overrides in {(c.name, tuple(c.overrides)) for work in works for c in work.commands()}:
        compose(verb_name, overrides)  # refuses what is unknown or of another type


def test_arms_of_a_cell_differ_in_what_they_say_they_do() -> None:
    names = ("small-1x-dropout", "small-s2-dropout")
    works = {name: ArmWork(chosen_arms(["visual_dropout"], [name])[0], 1, plain()) for name in names}
    single, double = ([str(c) for c in work.commands()] for work in works.values())
    assert single[0] == double[0], "the same demos"
    assert single[1].replace("sizes=[224]", "") == double[1].replace("sizes=[224,448]", "").replace(
        "small-s2", "small-1x"
    )
    suite = ArmWork(chosen_arms(["perturbations"], ["small-s2-dropout-light"])[0], 1, plain())
    assert [str(c) for c in suite.commands()[:2]] == double[:2], "the checkpoints of the clean arm"
    assert "perturbation=light" in suite.commands()[2].overrides


def test_an_expert_needs_no_training_seeds() -> None:
    expert, oracle = (chosen_arms(["controls"], [name])[0] for name in ("expert", "oracle"))
    assert (seeds_of(expert, [0, 1, 2]), seeds_of(oracle, [0, 1, 2])) == ([0], [0, 1, 2])


def test_planned_comparisons_are_corrected_for_each_other(tmp_path: Path) -> None:
    rates = {"small-s2": 0.9, "large-1x": 0.6, "small-1x": 0.88}
    for name, rate in rates.items():
        for seed in range(3):
            write_made(tmp_path / f"{name}_seed{seed}.json", seed, rate)
    found = {(c.first, c.second): c for c in planned_comparisons(read_arms(tmp_path))}
    assert set(found) == {("small-s2", "large-1x"), ("small-s2", "small-1x")}
    claim, other = found["small-s2", "large-1x"], found["small-s2", "small-1x"]
    assert claim.separated and claim.difference == pytest.approx(0.3, abs=0.02)
    assert claim.p_holm == pytest.approx(min(1, 2 * claim.p)) and not other.separated
    page = render(read_arms(tmp_path))
    assert "- small-s2 v large-1x: separated: difference +30 pp (95 % interval" in page
    assert page.index("## The claim") < page.index("## headline")
    assert "Grasp conditioning" not in page, "none of its arms is there"


def test_grasp_conditioning_stands_beside_the_claim_and_does_not_change_it(tmp_path: Path) -> None:
    def written(*arms: str) -> str:
        for name in arms:
            for seed in range(3):
                write_made(tmp_path / f"{name}_seed{seed}.json", seed, 0.6 if "large" in name else 0.9)
        return render(read_arms(tmp_path))

    first = written("small-s2", "large-1x").partition("## headline")[0]
    page = written("small-s2-conditioned", "large-1x-conditioned")
    assert page.startswith(first)
    named = "small-s2-conditioned v large-1x-conditioned"
    assert f"- {named}: separated: difference +30 pp (95 % interval" in page
    assert page.index("## The claim") < page.index("## Grasp conditioning") < page.index("## headline")


def write_made(path: Path, seed: int, rate: float) -> None:
    """An evaluation whose further positions succeed at a rate, the same ones for all seeds but a few."""
    further = [
        {
            "index": i + 1,
            "start": {"options": {"cube": [0.001 * i, 0.0, 0.0]}, "place": None},
            "metrics": {},
            "seed": i,
            "steps": 9,
            "success": (i * 37 + seed) % 100 < 100 * rate,
        }
        for i in range(100)
    ]
    counts = {"successes": 1, "trials": 1, "success_rate": 1.0, "wilson_95": [0, 1]}
    fixed = [
        {
            "index": 0,
            "start": {"options": {"cube": [0.5, 0.0, 0.0]}, "place": None},
            "metrics": {},
            "seed": 999,
            "steps": 9,
            "success": True,
        }
    ]
    config = {"training": {"seed": seed}, "evaluate": {"name": path.stem.rpartition("_")[0]}}
    extra = counts | {"successes": sum(o["success"] for o in further), "trials": 100, "rollouts": further}
    made = counts | {
        "schema": 2,
        "task": CubePickTask().to_dict(),
        "rollouts": fixed,
        "random_starts": extra,
        "checkpoint_sha256": "0",
        "config": config,
    }
    path.write_text(json.dumps(made))


def test_the_published_report_is_computed_from_the_raw_outcomes() -> None:
    folder = ROOT / "docs" / "results" / "table10"
    arms = read_arms(folder)
    assert (folder / "plan.md").is_file()
    assert (folder / "report.md").is_file() == bool(arms)
    if arms:
        assert (folder / "report.md").read_text() == render(arms)
