"""`import s2robot` as a notebook uses it: what it offers, what it costs, and whether the examples run."""

from __future__ import annotations

import doctest
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_loop

import s2robot
from s2robot.config.overrides import as_overrides, parse
from s2robot.core.errors import UserError
from s2robot.core.rollout import run_episode
from s2robot.policy.checkpoint import checkpoint_sha256, find_checkpoint, load_policy


class Checker(doctest.OutputChecker):
    """An example without an expected output may print: progress, summaries."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def project(toy_store: Path, toy_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: demos, a policy, and two evaluations of it."""
    runs = tmp_path_factory.mktemp("project") / "runs"
    shutil.copytree(toy_store, runs / "demos")
    shutil.copytree(toy_checkpoint, runs / "policy")
    for name, options in {"policy": [], "other": ["execution=ensemble"]}.items():
        out = runs / name / "evaluation"
        given = [
            f"checkpoint={runs / 'policy'}",
            f"out={out}",
            "starts=2",
            "workers=0",
            "max_steps=4",
            *options,
        ]
        assert toy_loop.s2robot("evaluate", *given) == 0
    return runs.parent


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, s2robot; dir(s2robot); print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"torch", "mujoco", "zarr", "numpy", "gymnasium", "hydra", "omegaconf"}


def test_every_name_is_there_and_listed() -> None:
    assert 10 <= len(s2robot.__all__) <= 15
    assert set(s2robot._MODULES) == set(s2robot.__all__) <= set(dir(s2robot))
    for name in s2robot.__all__:
        assert getattr(s2robot, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'load_polcy'; it offers S2, DemoStore"):
        s2robot.load_polcy  # type: ignore[attr-defined]  # noqa: B018


def test_the_command_line_keeps_its_packages() -> None:
    """No name of the API is that of a package: importing the package would hide the function."""
    packages = {path.stem for path in Path(s2robot.__file__).parent.iterdir()}
    assert not packages & set(s2robot.__all__)


@pytest.mark.parametrize("name", s2robot.__all__)
def test_its_examples_run(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    text = inspect.getdoc(getattr(s2robot, name)) or ""
    assert "\nExamples:\n" in text
    examples = doctest.DocTestParser().get_doctest(
        text, {"s2robot": s2robot, "np": np, "torch": torch}, name, None, 0
    )
    assert examples.examples
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failures: list[str] = []
    runner.run(examples, out=failures.append)
    assert not failures, "".join(failures)


def test_the_example_of_the_page_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the toy environment in the simulator's place."""
    page = Path(s2robot.__file__).parents[1] / "docs" / "api.md"
    (example,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(example.splitlines()) <= 15
    (project / "runs/quickstart").mkdir()
    shutil.copytree(project / "runs/policy", project / "runs/quickstart/checkpoint")
    monkeypatch.chdir(project)
    exec(
        compile(
            example.replace('make_env("cube_pick")', 'make_env("toy", max_steps=4)'), "docs/api.md", "exec"
        ),
        {},
    )
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and said[-1].endswith("of 4 rollouts")


def test_the_page_shows_every_name() -> None:
    page = Path(s2robot.__file__).parents[1] / "docs" / "api.md"
    shown = re.findall(r"^::: s2robot\.(\w+)$", page.read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(s2robot.__all__)


def test_an_own_loop_gives_the_policy_that_training_begins_with(toy_store: Path, tmp_path: Path) -> None:
    encoder, small = {"name": "random-tiny", "sizes": [64]}, {"width": 32, "trunk": "mlp"}
    shared = {"encoder": encoder, "bf16": False}
    trained = s2robot.train_policy(
        toy_store, tmp_path / "trained", steps=1, lr=1e-12, warmup=0, val_fraction=0, policy=small, **shared
    )
    policy = s2robot.make_policy(s2robot.load_windows(toy_store, **shared), **small)
    for (name, mine), theirs in zip(
        policy.model.state_dict().items(), trained.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, msg=f"{name} differs")
    assert policy.model.camera_pooling("front").standardize.mean.abs().sum() > 0


def test_a_policy_that_was_saved_acts_and_is_evaluated_as_one_that_was_trained(
    toy_store: Path, tmp_path: Path
) -> None:
    windows = s2robot.load_windows(toy_store, cameras=["front"], encoder={"name": "blind", "sizes": [64]})
    policy = s2robot.make_policy(windows, trunk="linear", width=16, pooling="linear")
    policy.model.train()
    policy.save(tmp_path / "own" / "checkpoint")
    env = s2robot.make_env("toy")
    loaded = s2robot.load_policy(tmp_path / "own")  # the folder that holds it
    outcomes = [run_episode(env, actor, seed=3) for actor in (policy, loaded, policy)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    evaluation = s2robot.evaluate_policy(tmp_path / "own", tmp_path / "evaluation", starts=1)
    assert evaluation["trials"] == 1
    assert evaluation["config"]["training"]["policy"]["trunk"] == "linear"


def test_a_policy_acts_as_the_command_line_executes_it(toy_checkpoint: Path) -> None:
    from s2robot.policy.policy import ChunkExecutor

    env, taken = s2robot.make_env("toy"), []
    for actor in (load_policy(toy_checkpoint), ChunkExecutor(load_policy(toy_checkpoint))):
        observation, _ = env.reset(seed=1)
        actor.reset()
        taken.append([actor.act(observation) for _ in range(5)])
    np.testing.assert_array_equal(*taken)


def test_a_checkpoint_is_found_in_the_folder_that_holds_it(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_checkpoint, run / "checkpoint")
    assert find_checkpoint(run) == run / "checkpoint" == find_checkpoint(run / "checkpoint")
    assert checkpoint_sha256(run) == checkpoint_sha256(toy_checkpoint)
    options = ["starts=1", "workers=0", "max_steps=4", f"out={tmp_path / 'evaluation'}"]
    assert toy_loop.s2robot("evaluate", f"checkpoint={run}", *options) == 0
    shutil.copytree(toy_checkpoint, run / "second")
    refused = toy_loop.refusal(capsys, "evaluate", f"checkpoint={run}", f"out={tmp_path / 'other'}")
    assert f"{run} holds several checkpoints, name one: {run}/checkpoint, {run}/second" in refused
    with pytest.raises(
        UserError, match=r"no checkpoint at .*nothing: .*checkpoints in .*run: checkpoint, second"
    ):
        find_checkpoint(run / "nothing")


@pytest.mark.parametrize(
    "value",
    ["plain", "a b", "1e3", "true", "null", "it's", "[x]", "a=1,b", "~/x", "", 3, 0.5, True, None, [1, 2]],
)
def test_what_python_gives_is_what_an_option_gets(value: object) -> None:
    (override,) = as_overrides({"name": value})
    assert parse(override).value() == value


def test_without_the_simulation_there_is_one_line(tmp_path: Path) -> None:
    """As in an installed wheel: `envs` cannot be imported."""
    code = (
        "import sys; sys.modules['envs'] = None\n"
        "import s2robot\n"
        "try: s2robot.make_env('toy')\n"
        "except s2robot.UserError as error: print(error)"
    )
    root = Path(s2robot.__file__).parents[1]
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=root)
    assert said.startswith("the simulation (folders envs/ and demos/) is no part of the installed package")
    assert len(said.splitlines()) == 1
