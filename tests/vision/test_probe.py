"""How well frozen features locate the start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_loop
from stores import write_attributes

from s2robot.advise.probe import ProbeSet, cross_validate, draw_frames
from s2robot.data.store import DemoStore

QUICK = ("encoders=[random-tiny]", "sizes=[[224]]", "bf16=false", "folds=2", "threads=1")


@pytest.fixture(scope="module")
def result(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("probe") / "probe.json"
    poolings = "poolings=[spatial_projection,mean]"
    assert toy_loop.s2robot("probe", f"demos={toy_store}", f"out={out}", *QUICK, poolings, "steps=5") == 0
    return json.loads(out.read_text())


def test_the_file_says_what_was_probed_and_how_far_off_it_is(result: dict, toy_store: Path) -> None:
    assert [r["pooling"] for r in result["results"]] == ["spatial_projection", "mean"]
    for r in result["results"]:
        assert (r["encoder"], r["sizes"]) == ("random-tiny", [224])
        assert len(r["episodes_cm"]) == 4
        assert r["mean_cm"] == pytest.approx(np.mean(r["episodes_cm"]), abs=1e-3)
    assert result["demos_sha256"] == DemoStore.open(toy_store).digest()
    assert result["config"]["folds"] == 2 and result["baseline_cm"] > 0


def test_a_crop_of_the_frames_is_probed_beside_the_whole(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"demos={toy_store}", f"out={tmp_path / 'p.json'}", *QUICK, "poolings=[mean]", "steps=2")
    assert toy_loop.s2robot("probe", *given, "crop=[null,[0.25,0,0.75,0.5]]") == 0
    whole, cropped = json.loads((tmp_path / "p.json").read_text())["results"]
    assert (whole["crop"], cropped["crop"]) == (None, [0.25, 0, 0.75, 0.5])
    assert whole["episodes_cm"] != cropped["episodes_cm"]
    assert "of [0.25,0.0,0.75,0.5] mean" in capsys.readouterr().out


def test_frames_come_from_before_the_gripper_first_closes(toy_store: Path) -> None:
    store = DemoStore.open(toy_store)
    drawn = draw_frames(store, "front", 3, seed=0)
    for number, episode_id in enumerate(store.ids()):
        episode = store.episode(episode_id)
        first_closing = int(np.flatnonzero(episode.action[:, -1] > 0)[0])
        before = {frame.tobytes() for frame in episode.images("front", slice(0, max(1, first_closing)))}
        mine = drawn.episode == number
        assert all(frame.tobytes() in before for frame in drawn.frames[mine])
        for x_y in drawn.target[mine]:
            np.testing.assert_allclose(x_y, episode.attributes["start"]["place"][:2], rtol=1e-6)


def readable(episodes: int = 40, frames: int = 4) -> tuple[ProbeSet, np.ndarray]:
    """Targets, and tokens (F, 1 + 16, 3) of which one patch shows by its place where the cube is."""
    rng = np.random.default_rng(0)
    cells = rng.integers(16, size=episodes).repeat(frames)
    tokens = rng.normal(0, 0.1, (len(cells), 17, 3)).astype(np.float32)
    tokens[np.arange(len(cells)), 1 + cells, 0] += 3
    target = np.stack([cells % 4, cells // 4], axis=1).astype(np.float32) * 0.05
    return ProbeSet(np.zeros((len(cells), 1)), target, np.arange(episodes).repeat(frames)), tokens


def errors(pooling: str, seed: int = 0) -> np.ndarray:
    probe_set, tokens = readable()
    shape = (4, 4, 3)
    return cross_validate(torch.from_numpy(tokens), shape, probe_set, pooling, folds=4, steps=150, seed=seed)


def test_a_pooling_that_keeps_space_reads_what_a_mean_throws_away() -> None:
    keeps, mean = errors("spatial_projection"), errors("mean")
    assert keeps.mean() < 0.03 < 0.05 < mean.mean()


def test_the_same_seed_gives_the_same_errors() -> None:
    np.testing.assert_array_equal(errors("mean"), errors("mean"))


def test_a_held_out_episode_cannot_be_remembered() -> None:
    rng = np.random.default_rng(1)
    target = rng.uniform(-0.1, 0.1, (24, 2)).astype(np.float32).repeat(4, axis=0)
    names = np.eye(24, dtype=np.float32).repeat(4, axis=0)  # tells which episode, nothing of where
    tokens = torch.from_numpy(np.tile(names[:, None], (1, 5, 1)))
    probe_set = ProbeSet(np.zeros((96, 1)), target, np.arange(24).repeat(4))
    baseline = np.linalg.norm(target - target.mean(0), axis=1).mean()
    assert cross_validate(tokens, (2, 2, 24), probe_set, "mean", 4, 100, seed=0).mean() > 0.7 * baseline


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["camera=side"], "unknown camera 'side'"),
        (["folds=5"], "folds=5: expected 2 to 4"),
        (["encoders=[mvp-tyni-sim]"], "unknown encoder 'mvp-tyni-sim'"),
        (["poolings=[median]"], "unknown pooling 'median'"),
        (["crop=[[0,0,2,1]]"], "crop=[0.0, 0.0, 2.0, 1.0]: expected [left, top, right, bottom]"),
        (["frames=0"], "frames=0: expected 1 or more"),
        (["seed=-1"], "seed=-1: expected 0 or more"),
        (["threads=-3"], "threads=-3: expected 1 or more"),
        (["out=."], "out=. is a folder: expected a file"),
        ([f"out={__file__}"], "exists already: give another out=, or overwrite=true"),
    ],
)
def test_a_mistake_is_one_line(
    toy_store: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in toy_loop.refusal(capsys, "probe", f"demos={toy_store}", *QUICK, *options)


def test_an_encoder_that_is_missing_is_told_before_another_is_probed(
    toy_store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.safetensors"
    given = ("probe", f"demos={toy_store}", *QUICK, f"encoders=[random-tiny,{missing}]", "poolings=[mean]")
    assert toy_loop.s2robot(*given, "steps=5") == 2
    printed = capsys.readouterr()
    assert str(missing) in printed.err and "random-tiny" not in printed.out


def test_demos_without_a_start_are_refused(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(toy_store, tmp_path / "demos", ignore=shutil.ignore_patterns("features"))
    for path in store.glob("*/zarr.json"):
        write_attributes(path, lambda attributes: attributes.pop("start"))
    assert "has no start with a place to probe for" in toy_loop.refusal(
        capsys, "probe", f"demos={store}", *QUICK
    )
