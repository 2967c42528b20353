"""Training: it learns, it is repeatable, it resumes, and it keeps what it has."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_loop import curves, made_episode, record, refusal, s2robot, train, training

import s2robot.train.command as stage
from envs.toy import Toy
from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore, Episode
from s2robot.policy.checkpoint import FILES, load_policy, read_config
from s2robot.train.demos import split_episodes
from s2robot.train.options import TrainOptions

MODEL, STATE = "model.safetensors", "training_state.pt"
FRONT = "cameras=[front]"


def weights(checkpoint: Path) -> bytes:
    return (checkpoint / MODEL).read_bytes()


def test_the_loss_falls(toy_store: Path, tmp_path: Path) -> None:
    losses = curves(train(toy_store, tmp_path, FRONT, "steps=50", "lr=0.003"))["total/train"]
    assert [step for step, _ in losses] == [*range(1, 51)]
    values = [value for _, value in losses]
    assert np.mean(values[-10:]) < 0.7 * np.mean(values[:5])


def test_the_same_seed_gives_the_same_weights_and_another_one_others(toy_store: Path, tmp_path: Path) -> None:
    made = {
        name: weights(
            train(toy_store, tmp_path / name, FRONT, "policy.transformer.dropout=0.1", f"seed={seed}")
        )
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    }
    assert made["a"] == made["b"] != made["c"]


def test_how_often_it_saves_and_logs_does_not_change_the_weights(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    other = train(toy_store, tmp_path, "checkpoint_every=5", "log_every=4")
    assert weights(other) == weights(toy_checkpoint)


def test_another_history_and_another_chunk_train_and_act(toy_store: Path, tmp_path: Path) -> None:
    policy = load_policy(train(toy_store, tmp_path, "policy.n_obs_steps=5", "policy.chunk_size=3"))
    env = Toy()
    observation, _ = env.reset(seed=0)
    policy.observe(observation)
    assert policy.predict().shape == (3, env.robot_spec.action_dim)


def test_a_checkpoint_says_what_made_it(toy_store: Path, toy_checkpoint: Path) -> None:
    config = read_config(toy_checkpoint)
    assert config["env"]["_target_"] == "envs.toy.Toy"
    assert config["demos_sha256"] == DemoStore.open(toy_store).digest()
    assert config["training"]["seed"] == 0 and config["training"]["episodes"] == 4
    assert torch.__version__.startswith(config["versions"]["torch"])
    assert {"git", "machine", "encoder_identity"} <= config.keys()
    record = json.loads((toy_checkpoint / "run.json").read_text())
    assert record["options"]["lr"] == 1e-3 and record["options"]["policy"]["width"] == 32
    (demos,) = record["demos"]
    assert (demos["sha256"], len(demos["episodes"])) == (config["demos_sha256"], 4)
    (session,) = record["sessions"]
    assert (session["from_step"], session["steps"]) == (0, 12)
    assert 0 <= session["waited"] <= session["seconds"]
    assert list((toy_checkpoint / "log").glob("events*")), "for TensorBoard"


def test_the_statistics_are_those_of_the_training_episodes(toy_store: Path, tmp_path: Path) -> None:
    policy = load_policy(train(toy_store, tmp_path, FRONT, "val_fraction=0", "steps=1"))
    store = DemoStore.open(toy_store)
    actions = np.concatenate([store.episode(i).action for i in store.ids()])
    np.testing.assert_allclose(policy.model.action_normalizer.mean, actions.mean(0), rtol=1e-4, atol=1e-6)


def test_held_out_episodes_are_scored_when_it_saves(toy_store: Path, tmp_path: Path) -> None:
    made = curves(train(toy_store, tmp_path, FRONT, "val_fraction=0.25"))
    assert [step for step, _ in made["action/validation"]] == [6, 12]
    assert "action/validation" not in curves(train(toy_store, tmp_path / "all", FRONT, "val_fraction=0"))


@given(st.integers(1, 12), st.floats(0, 1, exclude_max=True), st.integers(0, 20))
def test_held_out_episodes_are_whole_and_none_is_lost(count: int, share: float, seed: int) -> None:
    episodes = [made_episode(3) for _ in range(count)]
    kept, held_out = split_episodes(episodes, share, seed)
    assert sorted(map(id, kept + held_out)) == sorted(map(id, episodes))
    assert kept, "at least one to train on"
    assert len(held_out) == min(round(share * count), count - 1)
    again = split_episodes(episodes, share, seed)
    assert [[id(t) for t in part] for part in again] == [[id(t) for t in part] for part in (kept, held_out)]


@pytest.mark.parametrize(
    ("share", "expected"), [("-0.1", "0 or more"), ("1.0", "less than 1"), ("nan", "a finite number")]
)
def test_a_share_that_is_none_is_refused(share: str, expected: str) -> None:
    config = compose("train", ["demos=x", "out=y", f"val_fraction={share}"])
    with pytest.raises(UserError, match=f"^val_fraction=(?i:{share}): expected {expected}$"):
        read_options(TrainOptions, config)


def test_the_best_checkpoint_is_that_of_the_best_score_on_held_out_demos(
    toy_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, seen = iter([3.0, 1.0, 2.0]), []

    def validate(model: torch.nn.Module, *_: Any) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"action": next(scores)}

    monkeypatch.setattr(stage, "validate", validate)
    out = train(toy_store, tmp_path, FRONT, "val_fraction=0.25", "checkpoint_every=4")
    for folder, state in ((out / "best", seen[1]), (out, seen[2])):
        found = load_policy(folder).model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in state.items())


def test_without_held_out_demos_there_is_no_best(toy_store: Path, tmp_path: Path) -> None:
    out = train(toy_store, tmp_path / "out", FRONT, "val_fraction=0", "steps=2")
    assert not (out / "best").exists()


# ---------------------------------------------------------------------- resuming

LONG = (
    FRONT,
    "steps=120",
    "checkpoint_every=6",
    "policy.transformer.dropout=0.1",
    "ema_decay=0.9",
    "val_fraction=0.25",
)


SHORT = (*LONG, "steps=14")


def killed(arguments: list[str], moment: Callable[[], bool]) -> int:
    """Runs the command line in a process of its own, kills it once a moment has come; its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "s2robot.cli", *arguments], stderr=subprocess.DEVNULL)
    while not moment():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    return process.wait()


@pytest.fixture(scope="module")
def uninterrupted(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy_store, tmp_path_factory.mktemp("uninterrupted") / "policy", *LONG)


def assert_resumes(toy_store: Path, out: Path, uninterrupted: Path, extra: float) -> None:
    def moment() -> bool:
        if not (out / STATE).is_file():
            return False
        time.sleep(extra)
        return True

    assert killed(training(toy_store, out, *LONG), moment) == -signal.SIGKILL
    reached = torch.load(out / STATE, weights_only=True)["step"]
    assert 6 <= reached < 120
    assert load_policy(out), "what was saved last is whole"
    train(toy_store, out, *LONG)
    assert weights(out) == weights(uninterrupted)
    assert weights(out / "best") == weights(uninterrupted / "best")
    assert curves(out) == curves(uninterrupted)


def test_after_kill_9_it_goes_on_to_the_same_weights(
    toy_store: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    assert_resumes(toy_store, tmp_path / "policy", uninterrupted, extra=0.1)


def assert_goes_on(
    toy_store: Path, out: Path, uninterrupted: Path, said: str, options: tuple[str, ...], steps: int
) -> int:
    """To the same weights; gives the step at which it was ended."""
    reached = torch.load(out / STATE, weights_only=True)["step"]
    assert f"{out}: step {reached} of {steps} is saved, the same command goes on from there" in said
    assert 6 <= reached < steps
    train(toy_store, out, *options)
    assert weights(out) == weights(uninterrupted)
    assert curves(out) == curves(uninterrupted)
    return reached


def test_a_signal_saves_the_step_of_now_and_it_goes_on_to_the_same_weights(
    toy_store: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    program = [sys.executable, "-m", "s2robot.cli", *training(toy_store, tmp_path, *LONG)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / STATE).is_file():
            assert process.poll() is None
            time.sleep(0.002)
        process.terminate()
        said = process.communicate()[1]
    assert process.returncode == 143
    assert_goes_on(toy_store, tmp_path, uninterrupted, said, LONG, 120)


@pytest.fixture(scope="module")
def short(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy_store, tmp_path_factory.mktemp("short") / "policy", *SHORT)


@pytest.mark.parametrize(
    ("number", "code", "handler"),
    [(signal.SIGHUP, 129, signal.SIG_DFL), (signal.SIGINT, 130, signal.default_int_handler)],
)
def test_so_does_another_signal_in_the_middle_of_a_step(
    toy_store: Path,
    short: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
    handler: Any,
) -> None:
    steps, step = [], stage.Trainer.step

    def interrupted(*arguments: Any) -> dict[str, float]:
        steps.append(1)
        if len(steps) == 10:
            signal.raise_signal(number)
        return step(*arguments)

    monkeypatch.setattr(stage.Trainer, "step", interrupted)
    before = signal.signal(number, handler)  # of a shell's background job SIGINT is ignored
    try:
        assert s2robot(*training(toy_store, tmp_path, *SHORT)) == code
    finally:
        signal.signal(number, before)
    said = capsys.readouterr().err
    assert assert_goes_on(toy_store, tmp_path, short, said, SHORT, 14) == 10


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(8))
def test_after_kill_9_at_any_moment(
    toy_store: Path, uninterrupted: Path, tmp_path: Path, attempt: int
) -> None:
    extra = random.Random(attempt).uniform(0, 1.0)
    assert_resumes(toy_store, tmp_path / "policy", uninterrupted, extra)


def test_run_again_it_changes_nothing(toy_store: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    out = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    train(toy_store, out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("option", "differs"),
    [
        ("seed=1", "seed 0 -> 1"),
        ("lr=0.5", "lr 0.001 -> 0.5"),
        ("steps=11", "steps 12 -> 11"),
        ("policy.width=64", "policy.width 32 -> 64"),
        (FRONT, "cameras null -> [front]"),
        ("batch_size=5", "batch_size 4 -> 5"),
    ],
)
def test_other_options_are_refused_and_the_checkpoint_kept(
    toy_store: Path, toy_checkpoint: Path, capsys: pytest.CaptureFixture[str], option: str, differs: str
) -> None:
    before = weights(toy_checkpoint)
    said = refusal(capsys, *training(toy_store, toy_checkpoint, option))
    assert f"{toy_checkpoint} holds another training: {differs}: give the same, or another out=" in said
    assert weights(toy_checkpoint) == before


def test_other_demos_are_refused(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(toy_store, tmp_path / "demos")
    gone = DemoStore.open(store).ids()[-1]
    DemoStore.open(store).drop(gone)
    said = refusal(capsys, *training(store, toy_checkpoint))
    assert f"holds another training: demos gone from {store}: {gone}: give the same" in said


def test_a_training_is_extended(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    before = curves(out)["action/train"]
    train(toy_store, out, "steps=18")
    said = capsys.readouterr().out
    assert "extended from 12 to 18 steps: the learning rate goes on from" in said
    after = curves(out)["action/train"]
    assert after[: len(before)] == before and after[-1][0] == 18
    assert "steps 18 -> 12" in refusal(capsys, *training(toy_store, out))


def test_extended_in_its_warm_up_a_training_is_that_of_so_many_steps(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (FRONT, "warmup=8", "checkpoint_every=3")
    train(toy_store, tmp_path / "once", *options, "steps=9")
    train(toy_store, tmp_path / "twice", *options, "steps=6")
    capsys.readouterr()
    train(toy_store, tmp_path / "twice", *options, "steps=9")
    assert "extended from" not in capsys.readouterr().out
    assert weights(tmp_path / "twice") == weights(tmp_path / "once")


def test_a_training_says_what_it_is_made_of(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(toy_store, tmp_path / "out", FRONT)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "parameters:" in line]
    trained = sum(p.numel() for p in load_policy(tmp_path / "out").model.parameters())
    assert line.startswith(f"cpu, 1 threads; parameters: {trained / 1e6:.2f} M trained, ")
    assert "M frozen in random-tiny (64 px); " in line and " windows of 4 demos; " in line
    assert line.endswith(f"tensorboard --logdir {tmp_path / 'out'}")
    events = EventAccumulator(str(tmp_path / "out" / "log")).Reload()
    assert {"learning_rate", "gradient_norm", "action/train"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["window/front"]
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert rates[:2] == pytest.approx([0.0005, 0.001]) and rates[-1] < 1e-4


def test_a_checkpoint_that_cannot_be_resumed_is_not_overwritten(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in FILES:
        shutil.copy(toy_checkpoint / name, tmp_path)
    before = weights(tmp_path)
    said = refusal(capsys, *training(toy_store, tmp_path))
    assert f"{tmp_path} holds a checkpoint without {STATE}" in said
    assert weights(tmp_path) == before


class Malicious:
    """Pickled, it creates a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_code_in_a_training_state_is_not_run(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    mark, out = tmp_path / "executed", tmp_path / "policy"
    out.mkdir()
    if form == "pickle":
        (out / STATE).write_bytes(pickle.dumps(Malicious(mark), protocol=2))
    else:
        torch.save({"recipe": "", "step": Malicious(mark)}, out / STATE)
    assert f"{out / STATE} is damaged" in refusal(capsys, *training(toy_store, out))
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_a_training_state_that_is_cut_short(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    out = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    os.truncate(out / STATE, int(share * (out / STATE).stat().st_size))
    assert f"{out / STATE} is damaged" in refusal(capsys, *training(toy_store, out))
    assert load_policy(out), "the policy itself is whole"


@pytest.mark.parametrize("fits", [None, MODEL])
def test_when_saving_fails_the_last_checkpoint_stays(
    toy_store: Path,
    toy_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fits: str | None,
) -> None:
    """No file may grow beyond a limit, from the second save on: the weights do not fit, or only they do."""
    size = (toy_checkpoint / fits).stat().st_size + 10_000 if fits else 100_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    scored, score = [], stage.validate

    def validate(*arguments: Any) -> dict[str, float]:  # what is done just before a save
        scored.append(1)
        if len(scored) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        return score(*arguments)

    monkeypatch.setattr(stage, "validate", validate)
    options = ("val_fraction=0.25", "checkpoint_every=4")
    try:
        said = refusal(capsys, *training(toy_store, tmp_path, *options))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot save {tmp_path}: " in said
    assert load_policy(tmp_path)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], (
        "nothing is left lying about"
    )
    monkeypatch.undo()
    train(toy_store, tmp_path, *options)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 12


@pytest.mark.parametrize("size", [20_000, 1_200_000])
def test_after_a_disk_that_was_full_at_the_first_save_the_same_command_goes_on(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """Where nothing fits, and where the weights do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        said = refusal(capsys, *training(toy_store, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot save {tmp_path}: " in said
    assert not (tmp_path / STATE).exists()
    train(toy_store, tmp_path)
    assert weights(tmp_path) == weights(toy_checkpoint)


# ---------------------------------------------------------------------- mistakes


def test_a_missing_store_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, *training(tmp_path / "none", tmp_path / "out"))
    assert str(tmp_path / "none") in said
    assert not (tmp_path / "out").exists()


def test_an_empty_store_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    DemoStore.create(tmp_path / "demos", Toy().robot_spec)
    said = refusal(capsys, *training(tmp_path / "demos", tmp_path / "out"))
    assert "holds no demos: `s2robot record` makes some" in said


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("policy.pooling=atention", "unknown pooling 'atention': did you mean 'attention'?"),
        ("cameras=[frnt]", "unknown camera 'frnt': did you mean 'front'?"),
        ("encoder.name=random-tyni", "unknown architecture 'tyni': valid: tiny"),
        ("val_fraction=1.0", "val_fraction=1.0: expected less than 1"),
        ("lr=1.0e30", "the loss is"),
        ("policy.widht=3", "widht"),
        ("steps=many", "steps"),
        ("steps=0", "steps=0: expected 1 or more"),
        ("batch_size=0", "batch_size=0: expected 1 or more"),
        ("log_every=0", "log_every=0: expected 1 or more"),
        ("seed=-1", "seed=-1: expected 0 or more"),
        ("lr=-1", "lr=-1: expected more than 0"),
        ("grad_clip_norm=-1", "grad_clip_norm=-1: expected more than 0"),
        ("device=nowhere", "device=nowhere: expected cpu, or cuda where there is a GPU"),
        ("device=meta", "device=meta: expected cpu, or cuda where there is a GPU"),
        ("device=cuda:99", "device=cuda:99: expected cpu, or cuda where there is a GPU"),
        ("cameras=[]", "cameras=[]: expected a list of one or more of front"),
        ("policy.chunk_size=0", "chunk_size=0: expected 1 or more"),
        ("policy.transformer.dropout=2", "dropout=2: expected at most 1"),
        ("policy.grasp_weight=-1", "grasp_weight=-1: expected 0 or more"),
        ("policy.transformer.heads=5", "expected a multiple of heads=5"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_checkpoint(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, expected: str
) -> None:
    assert expected in refusal(capsys, *training(toy_store, tmp_path / "out", option))
    assert not (tmp_path / "out" / MODEL).exists()


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_missing_extra_is_named(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, *training(toy_store, tmp_path / "out", FRONT, "wandb=project"))
    assert 'wandb is not installed: pip install "s2robot[wandb]"' in said


def test_places_that_cannot_take_a_checkpoint_are_refused(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    said = refusal(capsys, *training(toy_store, tmp_path / "file"))
    assert "file is a file: expected a folder" in said
    assert "is a demo store: give another out=" in refusal(capsys, *training(toy_store, toy_store))
    assert not (toy_store / MODEL).exists()


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_is_told_without_a_network(
    toy_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert s2robot(*training(toy_store, tmp_path / "out", FRONT, "wandb=project")) == 0
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*/run-*.wandb")
    logged = run.read_bytes()
    assert b"action/train" in logged and b"batch_size" in logged


class FakeWandb(types.ModuleType):
    """What a training asks of wandb, without its package."""

    def __init__(self, key: str | None) -> None:
        super().__init__("wandb")
        self.api = types.SimpleNamespace(api_key=key)
        self.errors = types.SimpleNamespace(Error=ConnectionError)
        self.runs: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []

    def init(self, **given: Any) -> Any:
        if self.api.api_key == "wrong":
            raise ConnectionError("permission denied")
        self.runs.append(given)
        run = types.SimpleNamespace(define_metric=lambda *_, **__: None, log=self.logged.append)
        return contextlib.nullcontext(run)


@pytest.fixture
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], FakeWandb]:
    def made(key: str | None) -> FakeWandb:
        fake = FakeWandb(key)
        monkeypatch.setitem(sys.modules, "wandb", fake)
        return fake

    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_without_a_key_of_wandb_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fake_wandb: Callable[[str | None], FakeWandb]
) -> None:
    fake_wandb(None)
    said = refusal(capsys, "train", "demos=nothing", f"out={tmp_path / 'out'}", "wandb=project")
    assert "wandb=project: wandb has no key here: run `wandb login`, set WANDB_API_KEY, or" in said


def test_a_resumed_training_goes_on_in_the_same_run_of_wandb(
    toy_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fake_wandb: Callable[[str | None], FakeWandb],
) -> None:
    fake = fake_wandb("a key")
    options = training(toy_store, tmp_path / "out", FRONT, "wandb=project", "report=true")
    for _ in range(2):
        assert s2robot(*options) == 0
        (tmp_path / "out" / "report.html").unlink()  # there is something left to do
    first, second = fake.runs
    assert first["project"] == "project" and first["resume"] == "allow"
    assert first["id"] == second["id"] and "action/train" in fake.logged[0]
    fake_wandb("wrong")
    assert "wandb=project: permission denied" in refusal(capsys, *options)


def test_features_that_another_encoder_made_are_told(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They lie where those of this encoder belong: somebody has put them there."""
    features = shutil.copytree(toy_store / "features", tmp_path / "features")
    paths = list(features.glob("*/*/front.npy"))
    for path in paths:
        np.save(path, np.load(path)[:, :, :100])
    options = (FRONT, f"features={features}")
    said = refusal(capsys, *training(toy_store, tmp_path / "out", *options))
    assert any(f"{path} is float16 (" in said for path in paths) and "another one made it" in said


def test_an_episode_with_nan_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = record(tmp_path / "demos", 1, "env.cameras=[front]")
    episode = DemoStore.open(store).ids()[0]
    action: Any = zarr.open_array(store / episode / "action", mode="r+")
    action[3, 1] = np.nan
    said = refusal(capsys, *training(store, tmp_path / "out"))
    assert f"episode {episode} of {store}: action is not finite at step 3" in said


def test_one_episode_is_enough_even_one_of_a_single_step(tmp_path: Path) -> None:
    store = DemoStore.open(record(tmp_path / "demos", 1, "env.cameras=[front]"))
    whole = store.episode("000000")
    first = {name: getattr(whole, name)[:1] for name in ("proprio", "action", "action_applied", "time")}
    store.append(Episode({"front": whole.images("front", slice(0, 1))}, **first, attributes={}))
    store.drop("000000")
    assert load_policy(train(store.path, tmp_path / "out", "steps=2"))


def test_help_shows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert s2robot("train", "--help") == 0
    assert "checkpoint_every" in capsys.readouterr().out
