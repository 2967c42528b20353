"""Evaluation: what is counted, that it is repeatable, and that a rollout sees only what a robot sees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toy_loop import refusal, s2robot

import s2robot.evaluation.rollouts as stage
from envs.toy import STEP
from s2robot.compare.read import read
from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.spec import Observation
from s2robot.evaluation import command
from s2robot.evaluation.options import EvaluateOptions
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy
from s2robot.policy.policy import N_ACTION_STEPS, Policy
from s2robot.reports.evaluation import PAGE_FIELDS
from s2robot.statistics import wilson
from s2robot.tasks.cube_pick import X_RANGE, Y_RANGE, evaluation_positions, further_positions

ROOT = Path(stage.__file__).parents[2]

# Of the toy, in m.
HALF_VIEW = 0.2  # from the middle of the front camera's frame to its edge
TOP = 0.2  # where the gripper starts
NEAR = 0.005  # to the cube


def arguments(checkpoint: Path, out: Path, *options: str) -> list[str]:
    return ["evaluate", f"checkpoint={checkpoint}", f"out={out}", "workers=0", *options]


def evaluate(checkpoint: Path, out: Path, *options: str) -> dict[str, Any]:
    assert s2robot(*arguments(checkpoint, out, *options)) == 0
    return json.loads((out / "evaluation.json").read_text())


def videos(out: Path) -> list[str]:
    """The H.264 files within a report, as they stand there."""
    return re.findall(r'src="data:video/mp4;base64,([^"]+)"', (out / "report.html").read_text())


class Watched:
    """An actor that is given what the policy would be, and takes note of it."""

    seen: list[Observation]
    resets: int

    def __init__(self) -> None:
        self.seen, self.resets = [], 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observation: Observation) -> np.ndarray:
        self.seen.append(observation)
        return np.array([0.0, 0.0, 0.0, -1.0], np.float32)


class PixelExpert(Watched):
    """Picks the cube up as the toy's expert does, but finds it in the frame of the front camera."""

    def reset(self) -> None:
        super().reset()
        self.closed = False

    def act(self, observation: Observation) -> np.ndarray:
        super().act(observation)
        frame, gripper = observation["images"]["front"], observation["proprio"][:3]
        if not self.closed:
            rows, columns = np.nonzero(frame[..., 0] == 200)
            centre = np.array([rows.mean(), columns.mean()]) + 0.5 - len(frame) / 2
            self.cube = centre / len(frame) * 2 * HALF_VIEW
        aligned = np.linalg.norm(self.cube - gripper[:2]) < NEAR
        self.closed = self.closed or bool(aligned and gripper[2] < NEAR)
        height = TOP if self.closed or not aligned else 0.0
        target = np.append(gripper[:2] if self.closed else self.cube, height)
        return np.append(np.clip(target - gripper, -STEP, STEP), 1 if self.closed else -1).astype(np.float32)


def act_as(actor: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """This actor executes instead of the checkpoint's policy."""
    monkeypatch.setattr(stage, "make_executor", lambda policy, plain: actor)
    return actor


@pytest.fixture(scope="module")
def evaluated(toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    evaluate(toy_checkpoint, out, "starts=3", "random_starts=2", "max_steps=8", "seed=5")
    return out


@pytest.fixture(scope="module")
def evaluation(evaluated: Path) -> dict[str, Any]:
    return json.loads((evaluated / "evaluation.json").read_text())


def test_an_expert_that_acts_by_what_it_sees_succeeds_everywhere(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    act_as(PixelExpert(), monkeypatch)
    result = evaluate(toy_checkpoint, tmp_path, "random_starts=10")
    assert (result["successes"], result["trials"], result["success_rate"]) == (16, 16, 1.0)
    assert (result["random_starts"]["successes"], result["random_starts"]["trials"]) == (10, 10)
    assert all(0 < p["steps"] < 40 for p in result["rollouts"])
    assert "picked up the cube in 16 of 16 rollouts (100 %, " in capsys.readouterr().out


def test_a_policy_that_does_nothing_fails_everywhere(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_as(Watched(), monkeypatch)
    result = evaluate(toy_checkpoint, tmp_path, "random_starts=3", "max_steps=11")
    assert (result["successes"], result["trials"], result["random_starts"]["successes"]) == (0, 16, 0)
    assert not any(p["success"] for p in result["rollouts"])
    assert {p["steps"] for p in result["rollouts"]} == {11}


def test_an_actor_sees_what_a_robot_sees_and_no_more(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = act_as(PixelExpert(), monkeypatch)
    evaluate(toy_checkpoint, tmp_path, "starts=2")
    assert actor.resets == 2 and actor.seen
    for observation in actor.seen:
        assert observation.keys() == {"images", "proprio"}
        assert observation["images"].keys() == {"front", "wrist"}
        assert all(frame.dtype == np.uint8 for frame in observation["images"].values())
        assert observation["proprio"].shape == (4,)


def test_the_policy_sees_the_cameras_it_was_trained_on_alone(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    config = yaml.safe_load((checkpoint / "config.yaml").read_text())
    config["policy"]["cameras"] = ["wrist"]
    (checkpoint / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(stage, "load_policy", lambda path: load_policy(toy_checkpoint))
    actor = act_as(Watched(), monkeypatch)
    evaluate(checkpoint, tmp_path / "out", "starts=1", "max_steps=2")
    assert {tuple(observation["images"]) for observation in actor.seen} == {("wrist",)}


def test_the_evaluation_says_everything(evaluation: dict[str, Any], toy_checkpoint: Path) -> None:
    assert set(PAGE_FIELDS) <= evaluation.keys() and evaluation["schema"] == 2
    assert evaluation["trials"] == 3 == len(evaluation["rollouts"])
    assert evaluation["successes"] == sum(p["success"] for p in evaluation["rollouts"])
    assert evaluation["success_rate"] == evaluation["successes"] / 3
    assert evaluation["wilson_95"] == list(wilson(evaluation["successes"], 3))
    assert evaluation["checkpoint_sha256"] == checkpoint_sha256(toy_checkpoint)
    assert (evaluation["seed"], evaluation["max_steps"], evaluation["rate"]) == (5, 8, 10.0)
    assert {"python", "torch", "gymnasium"} <= evaluation["versions"].keys()
    assert evaluation["config"]["evaluate"]["n_action_steps"] == N_ACTION_STEPS
    assert evaluation["config"]["encoder"]["name"] == "random-tiny"
    assert evaluation["config"]["env"]["_target_"] == "envs.toy.Toy"
    assert "workers" not in evaluation["config"]["evaluate"], "they change nothing"


def test_starts_are_the_fixed_ones_then_random_ones(evaluation: dict[str, Any]) -> None:
    fixed = [tuple(r["start"]["options"]["cube"]) for r in evaluation["rollouts"]]
    further = [tuple(r["start"]["place"]) for r in evaluation["random_starts"]["rollouts"]]
    assert fixed == evaluation_positions()[:3]
    assert further == further_positions(2, seed=5)
    seeds = [p["seed"] for p in evaluation["rollouts"] + evaluation["random_starts"]["rollouts"]]
    assert len(set(seeds)) == 5


def test_the_task_is_told_with_the_region_of_its_map(evaluation: dict[str, Any]) -> None:
    task = evaluation["task"]
    assert (task["region"]["x"], task["region"]["y"]) == (list(X_RANGE), list(Y_RANGE))
    assert (task["name"], task["goal"], task["fixed_starts"]) == ("cube_pick", "picked up the cube", 16)


def test_the_report_has_a_video_of_each_position_and_the_curves(evaluated: Path) -> None:
    assert len(videos(evaluated)) == 3
    page = (evaluated / "report.html").read_text()
    assert "Training" in page and "action" in page


def test_random_starts_alone_are_counted(toy_checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate(toy_checkpoint, tmp_path, "starts=0", "random_starts=2", "max_steps=2")
    assert (result["trials"], result["random_starts"]) == (2, None)
    assert [tuple(p["start"]["place"]) for p in result["rollouts"]] == further_positions(2, seed=0)


def test_starts_are_repeated_from_other_seeds(
    toy_checkpoint: Path, tmp_path: Path, evaluation: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = "starts=3", "random_starts=2", "max_steps=8", "seed=5"
    result = evaluate(toy_checkpoint, tmp_path / "out", *options, "repeats=2")
    assert (result["trials"], result["random_starts"]["trials"]) == (6, 4)
    for part, once in ((result, evaluation), (result["random_starts"], evaluation["random_starts"])):
        count = once["trials"]
        assert part["rollouts"][:count] == once["rollouts"], "the first are the same"
        repeated = part["rollouts"][count:]
        assert [p["index"] for p in repeated] == [10_000 + p["index"] for p in once["rollouts"]]
        for again, first in zip(repeated, once["rollouts"], strict=True):
            assert again["start"] == first["start"] and again["seed"] != first["seed"]
    assert len(videos(tmp_path / "out")) == 3
    assert s2robot("evaluate", f"replay={tmp_path / 'out'}", "index=10001") == 0
    assert "rollout 10001: " in capsys.readouterr().out
    assert len(read([str(tmp_path / "out")])[0].outcomes("starts")) == 6, "each pairs with its own"


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_outcome_is_the_same_for_any_number_of_workers(
    evaluated: Path, evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path, workers: int
) -> None:
    options = "starts=3", "random_starts=2", "max_steps=8", "seed=5", f"workers={workers}"
    result = evaluate(toy_checkpoint, tmp_path, *options)
    assert result == evaluation
    assert videos(tmp_path) == videos(evaluated), "frame by frame"


def test_another_seed_starts_the_arm_elsewhere(
    evaluated: Path, evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path
) -> None:
    result = evaluate(toy_checkpoint, tmp_path, "starts=3", "max_steps=8", "seed=6")
    assert [p["seed"] for p in result["rollouts"]] != [p["seed"] for p in evaluation["rollouts"]]
    assert videos(tmp_path) != videos(evaluated)


def test_a_rollout_does_not_depend_on_how_many_there_are(
    evaluated: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    evaluate(toy_checkpoint, tmp_path, "starts=2", "max_steps=8", "seed=5")
    assert videos(tmp_path) == videos(evaluated)[:2]


def test_a_rollout_is_the_same_alone_and_in_any_order(
    evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluation["rollouts"] + evaluation["random_starts"]["rollouts"]
    monkeypatch.setattr(command, "rollout_specs", lambda *given: stage.rollout_specs(*given)[::-1])
    backwards = evaluate(
        toy_checkpoint, tmp_path / "b", "starts=3", "random_starts=2", "max_steps=8", "seed=5"
    )
    assert backwards["rollouts"] + backwards["random_starts"]["rollouts"] == whole[::-1]
    one = lambda *given: [spec for spec in stage.rollout_specs(*given) if spec.index == 17]  # noqa: E731
    monkeypatch.setattr(command, "rollout_specs", one)
    alone = evaluate(toy_checkpoint, tmp_path / "a", "starts=0", "random_starts=2", "max_steps=8", "seed=5")
    assert alone["rollouts"] == whole[4:] and alone["rollouts"][0]["index"] == 17


def test_a_rollout_tells_what_it_was_to_the_last_bit(
    evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path
) -> None:
    changed = ("starts=3", "max_steps=7", "seed=5"), ("starts=3", "max_steps=8", "seed=6")
    shorter, elsewhere = (evaluate(toy_checkpoint, tmp_path / str(i), *o) for i, o in enumerate(changed))
    for p, s, e in zip(evaluation["rollouts"], shorter["rollouts"], elsewhere["rollouts"], strict=True):
        assert p["digests"].keys() == {"model", "start", "rollout"}
        assert p["digests"]["start"] == s["digests"]["start"] != e["digests"]["start"]
        assert p["digests"]["rollout"] != s["digests"]["rollout"] != e["digests"]["rollout"]


def test_an_evaluation_that_was_killed_goes_on(
    evaluated: Path, evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path
) -> None:
    options = arguments(toy_checkpoint, tmp_path, "starts=3", "random_starts=2", "max_steps=8", "seed=5")
    program = [sys.executable, "-m", "s2robot.cli", *options]
    process = subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "unfinished").glob("0*.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = sorted((tmp_path / "unfinished").glob("0*.json"))
    assert 2 <= len(kept) < 5 and not (tmp_path / "evaluation.json").exists()
    first = json.loads(kept[0].read_text())
    first["outcome"]["steps"] = 77
    kept[0].write_text(json.dumps(first))
    result = evaluate(toy_checkpoint, tmp_path, "starts=3", "random_starts=2", "max_steps=8", "seed=5")
    assert result["rollouts"][0]["steps"] == 77, "it was not rolled out again"
    result["rollouts"][0]["steps"] = evaluation["rollouts"][0]["steps"]
    assert result == evaluation
    assert videos(tmp_path) == videos(evaluated)
    assert not (tmp_path / "unfinished").exists()


def crash_after(rollouts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation breaks off after that many."""

    def roll_out(made: stage.WorkerContext, job: stage.RolloutSpec) -> Any:
        if job.index == rollouts:
            raise KeyboardInterrupt
        return stage.roll_out(made, job)

    monkeypatch.setattr(command, "roll_out", roll_out)


def test_only_the_same_evaluation_goes_on(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Path(shutil.copytree(toy_checkpoint, tmp_path / "policy"))
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        crash_after(1, patch)
        assert s2robot(*arguments(checkpoint, out, "starts=2", "max_steps=2")) == 130
    said = refusal(capsys, *arguments(checkpoint, out, "starts=2", "max_steps=2", "n_action_steps=4"))
    assert "holds an unfinished evaluation with another n_action_steps (2, not 4)" in said
    assert "max_steps (2, not 3)" in refusal(capsys, *arguments(checkpoint, out, "max_steps=3"))
    (checkpoint / "stats.json").write_text((checkpoint / "stats.json").read_text() + " ")
    said = refusal(capsys, *arguments(checkpoint, out, "starts=2", "max_steps=2"))
    assert "with another checkpoint (" in said and "overwrite=true to begin anew" in said
    assert len(list((out / "unfinished").glob("0*.json"))) == 1, "a refusal destroys nothing"
    anew = evaluate(checkpoint, out, "starts=2", "max_steps=3", "overwrite=true")
    assert [p["steps"] for p in anew["rollouts"]] == [3, 3]


def test_rollouts_of_another_seed_are_never_mixed_in(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two evaluations left them that both wrote there: on a file system without locks, say."""
    for out, seed in ((tmp_path / "a", 0), (tmp_path / "b", 1)):
        with monkeypatch.context() as patch:
            crash_after(1, patch)
            assert s2robot(*arguments(toy_checkpoint, out, "starts=2", "max_steps=2", f"seed={seed}")) == 130
    shutil.copy(tmp_path / "b/unfinished/000000.json", tmp_path / "a/unfinished/000000.json")
    result = evaluate(toy_checkpoint, tmp_path / "a", "starts=2", "max_steps=2", "seed=0")
    assert [rollout["seed"] for rollout in result["rollouts"]] == [stage.env_seed(0, 0), stage.env_seed(0, 1)]


def test_execution_is_by_choice(evaluated: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(toy_checkpoint, tmp_path, "starts=3", "max_steps=8", "seed=5", "execution=ensemble")
    assert videos(tmp_path) != videos(evaluated)


def test_stage_times_are_shown(toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act_as(Watched(), monkeypatch)
    (tmp_path / "stages.json").write_text('{"record": 61.0, "train": 2.5}')
    evaluate(toy_checkpoint, tmp_path, "starts=1", "max_steps=2", f"stages={tmp_path / 'stages.json'}")
    assert "1 min 01 s" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["starts=17"], "starts=17: expected 0 to 16, the fixed starts of cube_pick"),
        (["starts=-1"], "starts=-1: expected 0 or more"),
        (["starts=0"], "starts=0 random_starts=0: expected 1 or more in all"),
        (["random_starts=-1"], "random_starts=-1: expected 0 or more"),
        (["execution=chnk"], "unknown execution 'chnk': did you mean 'chunk'? valid: chunk, ensemble"),
        (["repeats=0"], "repeats=0: expected 1 or more"),
        (["n_action_steps=17"], "n_action_steps=17: expected 1 to 16"),
        (["n_action_steps=0"], "n_action_steps=0: expected 1 or more"),
        (["workers=-1"], "workers=-1"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    toy_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: str,
) -> None:
    assert expected in refusal(capsys, *arguments(toy_checkpoint, tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_checkpoint(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, *arguments(toy_store, tmp_path / "out"))
    assert f"no checkpoint at {toy_store}" in said
    assert f"checkpoints in {toy_store.parent}: {toy_checkpoint.name}" in said


def test_a_policy_of_no_simulated_environment(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    config = yaml.safe_load((checkpoint / "config.yaml").read_text())
    (checkpoint / "config.yaml").write_text(yaml.safe_dump(config | {"env": None}))
    said = refusal(capsys, *arguments(checkpoint, tmp_path / "out"))
    assert "was trained on demos of no simulated environment" in said


def test_a_mistake_ends_in_its_own_line_in_a_worker_too(
    toy_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert s2robot(*arguments(toy_checkpoint, tmp_path / "out", "n_action_steps=17", "workers=1")) == 2
    said = capfd.readouterr().err
    assert "n_action_steps=17: expected 1 to 16" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_policies_are_made_as_their_options_say(toy_checkpoint: Path) -> None:
    policy: Policy = load_policy(toy_checkpoint)
    given = compose("evaluate", ["n_action_steps=5", "decay=0.7"])
    options = read_options(EvaluateOptions, given)
    chunk = stage.make_executor(policy, options)
    ensemble = stage.make_executor(policy, replace(options, execution="ensemble"))
    assert (chunk.n_action_steps, ensemble.decay) == (5, 0.7)  # type: ignore[attr-defined]


def test_an_evaluation_that_lies_there_is_replaced_only_where_asked(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluate(toy_checkpoint, tmp_path, "starts=1", "max_steps=2")
    before = (tmp_path / "evaluation.json").read_bytes(), (tmp_path / "report.html").read_bytes()
    said = refusal(capsys, *arguments(toy_checkpoint, tmp_path, "starts=2", "max_steps=2"))
    assert "holds an evaluation already: give another out=, or overwrite=true" in said
    assert before == ((tmp_path / "evaluation.json").read_bytes(), (tmp_path / "report.html").read_bytes())
    again = evaluate(toy_checkpoint, tmp_path, "starts=2", "max_steps=2", "overwrite=true")
    assert (first["trials"], again["trials"]) == (1, 2)


# Environments and tasks of their own


def checkpoint_of(toy_checkpoint: Path, folder: Path, env: dict[str, Any]) -> Path:
    """The checkpoint, trained on demos of that environment, as its file says."""
    checkpoint = shutil.copytree(toy_checkpoint, folder / "policy")
    config = yaml.safe_load((checkpoint / "config.yaml").read_text())
    (checkpoint / "config.yaml").write_text(yaml.safe_dump(config | {"env": {**config["env"], **env}}))
    return checkpoint


def test_a_task_without_fixed_starts_is_evaluated_over_seeds(toy_checkpoint: Path, tmp_path: Path) -> None:
    task = {"_target_": "s2robot.core.task.Task", "name": "own", "goal": "did it"}
    checkpoint = checkpoint_of(toy_checkpoint, tmp_path, {"task": task})
    result = evaluate(checkpoint, tmp_path / "out", "starts=20", "max_steps=2")
    assert len({rollout["seed"] for rollout in result["rollouts"]}) == 20
    assert {json.dumps(r["start"]) for r in result["rollouts"]} == {'{"options": {}, "place": null}'}
    assert (result["task"]["name"], result["task"]["region"]) == ("own", None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Did it in 0 of 20 rollouts" in page and "cube" not in page.partition("<details>")[0]
    assert "<h2>Where</h2>" not in page and len(videos(tmp_path / "out")) == 16


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("random_starts=2",), "random_starts=2: the starts of own are seeds: give starts=18"),
        (("actor=expert",), "actor=expert: the task own has no scripted expert"),
        (("perturbation=light",), "perturbation=light: the task own has none"),
    ],
)
def test_what_a_task_does_not_have_is_refused(
    toy_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    told: str,
) -> None:
    checkpoint = checkpoint_of(
        toy_checkpoint, tmp_path, {"task": {"_target_": "s2robot.core.task.Task", "name": "own"}}
    )
    assert told in refusal(capsys, *arguments(checkpoint, tmp_path / "out", *options))


def test_the_environment_may_be_chosen(
    evaluated: Path, evaluation: dict[str, Any], toy_checkpoint: Path, tmp_path: Path
) -> None:
    """Row 1 of the list of faults: a checkpoint's own environment is made only where it is one of ours."""
    foreign = {"_target_": "torch.load", "f": "payload.pt", "weights_only": False}
    checkpoint = checkpoint_of(toy_checkpoint, tmp_path, foreign)
    result = evaluate(checkpoint, tmp_path / "out", "env=toy", "starts=1", "max_steps=8", "seed=5")
    assert result["config"]["env"]["_target_"] == "envs.toy.Toy"
    assert result["rollouts"] == evaluation["rollouts"][:1]


@pytest.mark.parametrize(
    "env",
    [
        {"_target_": "torch.load", "f": "payload.pt", "weights_only": False},
        {"task": {"_target_": "s2robot.utils.atomic_io.write_atomic", "path": "PATH", "content": "x"}},
        {"rate": {"_target_": "s2robot.utils.atomic_io.write_atomic", "path": "PATH", "content": "x"}},
    ],
)
def test_what_a_checkpoint_names_runs_nothing(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], env: dict[str, Any]
) -> None:
    named = json.loads(json.dumps(env).replace("PATH", str(tmp_path / "written")))
    checkpoint = checkpoint_of(toy_checkpoint, tmp_path, named)
    said = refusal(capsys, *arguments(checkpoint, tmp_path / "out", "starts=1"))
    assert "which is none of ours" in said and "it is not run" in said
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("option", ["spawn_region.x=[0.05,0.06]", "spawn_region.x=[0.5,-0.5]"])
def test_starts_belong_to_the_task(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Row 14 of the list of faults: an option that the file repeated and no cube followed."""
    said = refusal(capsys, *arguments(toy_checkpoint, tmp_path / "out", option))
    assert "unknown option 'spawn_region.x'" in said
