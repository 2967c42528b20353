"""What comes from a file runs nothing: configs in checkpoints, stores and evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal
from stores import write_attributes
from toy_loop import refusal as refused
from toy_loop import s2robot

from s2robot.config.defaults import VARIABLE
from s2robot.config.targets import instantiate_recorded
from s2robot.config.trust import TRUSTED, check_trusted

OURS = {"_target_": "envs.toy.Toy", "cameras": ["front"]}


def payload(path: Path) -> dict[str, Any]:
    """A config that writes a file, were it run."""
    return {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(path)]}}


@pytest.mark.parametrize("target", sorted(TRUSTED))
def test_ours_are_trusted(target: str) -> None:
    check_trusted({"_target_": target, "nested": [{"_target_": "envs.toy.Toy"}]})


harmless = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="abc ", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(harmless, st.data())
def test_at_any_depth_nothing_else_is(tree: Any, data: st.DataObject) -> None:
    bad = data.draw(
        st.sampled_from(
            [
                {"_target_": "torch.load", "f": "payload.pt", "weights_only": False},
                {"_target_": "s2robot.utils.provenance.write_atomic", "path": "x", "content": "y"},
                {"_target_": ["envs.toy.Toy"]},
                {"_target_": "envs.toy.Toy", "_args_": [1]},
                {"_target_": "envs.toy.Toy", "_partial_": True},
                {"_target_": "envs.toy.Toy", "image_size": "${oc.env:HOME}"},
            ]
        )
    )
    for _ in range(data.draw(st.integers(0, 3))):
        bad = data.draw(st.sampled_from([{"a": bad, "b": tree}, [tree, bad]]))
    assert "it is not run" in refusal(lambda: instantiate_recorded({**OURS, "extra": bad}))
    check_trusted({**OURS, "extra": tree})


def test_a_file_of_the_user_s_own_folder_is_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"_target_": "fractions.Fraction", "numerator": 3, "denominator": 4}
    assert "it is not run" in refusal(lambda: instantiate_recorded(config))
    (tmp_path / "env").mkdir()
    (tmp_path / "env/mine.yaml").write_text(yaml.safe_dump({"_target_": "fractions.Fraction"}))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert instantiate_recorded(config).denominator == 4


def test_a_checkpoint_runs_nothing(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("env", "task"):
        checkpoint, mark = tmp_path / place / "policy", tmp_path / f"{place}.mark"
        checkpoint.mkdir(parents=True)
        for file in toy_checkpoint.iterdir():
            if file.is_file():
                (checkpoint / file.name).write_bytes(file.read_bytes())
        config = yaml.safe_load((checkpoint / "config.yaml").read_text())
        if place == "env":
            config["env"] = payload(mark)
        else:
            config["env"]["task"] = payload(mark)
        (checkpoint / "config.yaml").write_text(yaml.safe_dump(config))
        given = ("evaluate", f"checkpoint={checkpoint}", f"out={tmp_path / place}", "starts=1", "workers=0")
        assert "is not run" in refused(capsys, *given)
        assert not mark.exists()


def test_a_store_runs_nothing(toy_demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, mark = tmp_path / "demos", tmp_path / "mark"
    assert s2robot("demos", "merge", toy_demos, f"out={store}") == 0
    for file in store.glob("*/zarr.json"):
        write_attributes(file, lambda attributes: attributes["config"].update(env=payload(mark)))
    assert s2robot("demos", "replay", store) != 0
    captured = capsys.readouterr()
    assert "is not run" in captured.out + captured.err
    assert not mark.exists()


def test_an_evaluation_runs_nothing(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evaluation"
    given = ("evaluate", f"checkpoint={toy_checkpoint}", f"out={out}", "starts=1", "max_steps=2", "workers=0")
    assert s2robot(*given) == 0
    file = out / "evaluation.json"
    whole = json.loads(file.read_text())
    for key in ("env", "channel"):
        mark = tmp_path / key
        changed = {**whole, "config": {**whole["config"], key: payload(mark)}}
        file.write_text(json.dumps(changed))
        assert "is not run" in refused(capsys, "evaluate", f"replay={out}", "index=0")
        assert not mark.exists()
