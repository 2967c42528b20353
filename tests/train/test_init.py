"""Fine-tuning: `train init=CHECKPOINT`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_loop import ENCODER, curves, record, refusal, s2robot, train

from s2robot.data.store import DemoStore
from s2robot.policy.checkpoint import checkpoint_sha256, load_policy, read_config

FEW = ("threads=1", "encode_workers=0", "batch_size=4", "warmup=0", "log_every=1", "report=false", "steps=2")


@pytest.fixture(scope="module")
def more_demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demos that the first policy has not seen."""
    store = record(tmp_path_factory.mktemp("more") / "demos", 1, "seed=7")
    assert s2robot("encode", f"demos={store}", *ENCODER, "workers=0") == 0
    return store


def fine_tune(init: Path, out: Path, *demos: Path, options: tuple[str, ...] = ()) -> Path:
    stores = ",".join(map(str, demos))
    assert s2robot("train", f"init={init}", f"demos=[{stores}]", f"out={out}", *FEW, *options) == 0
    return out


def test_it_begins_with_the_weights_the_encoder_and_the_policy_of_the_checkpoint(
    toy_store: Path,
    more_demos: Path,
    toy_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    still = ("steps=1", "lr=1e-12", "weight_decay=0")
    out = fine_tune(toy_checkpoint, tmp_path / "out", more_demos, options=still)
    said = capsys.readouterr().out
    assert f"begins with the weights of {toy_checkpoint}; its normalisation is kept" in said
    before, now = load_policy(toy_checkpoint), load_policy(out)
    assert now.model.config == before.model.config, "none of its options was given again"
    for name, value in before.model.state_dict().items():
        torch.testing.assert_close(now.model.state_dict()[name], value, rtol=0, atol=1e-9)
    expected = {
        "checkpoint": str(toy_checkpoint),
        "sha256": checkpoint_sha256(toy_checkpoint),
        "statistics": "keep",
    }
    assert read_config(out)["training"]["init"] == expected
    assert json.loads((out / "run.json").read_text())["init"] == expected


def test_the_statistics_are_refitted_where_asked_for(
    more_demos: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("init_statistics=refit", "val_fraction=0", "steps=1")
    out = fine_tune(toy_checkpoint, tmp_path / "out", more_demos, options=options)
    assert "its normalisation is refitted to these demos" in capsys.readouterr().out
    store = DemoStore.open(more_demos)
    actions = np.concatenate([store.episode(i).action for i in store.ids()])
    mean = load_policy(out).model.action_normalizer.mean
    np.testing.assert_allclose(mean, actions.mean(0), rtol=1e-4, atol=1e-6)


def test_it_resumes_exactly(more_demos: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    once = fine_tune(
        toy_checkpoint, tmp_path / "once", more_demos, options=("warmup=8", "checkpoint_every=1")
    )
    options = ("warmup=8", "checkpoint_every=1")
    twice = fine_tune(toy_checkpoint, tmp_path / "twice", more_demos, options=("steps=1", *options))
    fine_tune(toy_checkpoint, twice, more_demos, options=options)
    name = "model.safetensors"
    assert (once / name).read_bytes() == (twice / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (
            ("encoder.name=random-tiny", "encoder.sizes=[48]"),
            "encoder random-tiny: encoder.sizes [64] -> [48]",
        ),
        (("cameras=[front]",), "cameras [front,wrist] -> [front]"),
        (("policy.width=64",), "is another policy: policy.width 32 -> 64"),
        (("policy.n_obs_steps=5",), "is another policy: policy.n_obs_steps 16 -> 5"),
    ],
)
def test_another_layout_is_refused_and_named(
    toy_store: Path,
    toy_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    differs: str,
) -> None:
    out = tmp_path / "out"
    said = refusal(
        capsys, "train", f"init={toy_checkpoint}", f"demos={toy_store}", f"out={out}", *FEW, *options
    )
    assert said.startswith(f"s2robot train: {toy_checkpoint} ") and differs in said


def test_another_robot_is_refused(
    toy_store: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(toy_checkpoint, tmp_path / "policy")
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("dx [m]", "vx [m/s]"))
    said = refusal(capsys, "train", f"init={other}", f"demos={toy_store}", f"out={tmp_path / 'out'}", *FEW)
    assert "was trained on others: action [vx [m/s]," in said and "-> [dx [m]," in said


def test_what_it_is_trained_by_may_differ(more_demos: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    options = ("policy.action_dropout=0.1", "policy.proprio_noise=0")
    config = load_policy(fine_tune(toy_checkpoint, tmp_path, more_demos, options=options)).model.config
    assert (config.action_dropout, config.proprio_noise, config.width) == (0.1, 0, 32)


def test_other_weights_to_begin_with_are_another_training(
    more_demos: Path, toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = fine_tune(toy_checkpoint, tmp_path / "out", more_demos)
    capsys.readouterr()
    given = ("train", f"demos={more_demos}", f"out={out}", *FEW)
    said = refusal(capsys, *given, f"init={toy_checkpoint}", "init_statistics=refit")
    assert "holds another training: init.statistics keep -> refit: give the same" in said
    said = refusal(capsys, *given, f"init={out}")
    assert f"init={out} lies in out={out}, which is written: give another out=" in said


def test_without_a_grasp_target_no_grasp_loss_is_shown(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = train(toy_store, tmp_path, "policy.grasp_weight=0", "steps=2")
    assert "grasp/train" not in capsys.readouterr().out and set(curves(out)) == {
        "total/train",
        "action/train",
    }
