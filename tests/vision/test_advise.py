"""Is a larger model worth it? On made features and errors whose answer is known, and on the toy's frames."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_loop
from mistakes import refusal
from stores import write_attributes

from s2robot.advise import command as advise_command
from s2robot.advise.probe import cross_validate, draw_frames
from s2robot.advise.recommendation import CandidateErrors, gain, recommend
from s2robot.advise.reconstruct import Reconstruction, information, match_grid, reconstruct
from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.data.store import DemoStore

EPISODES = np.arange(10).repeat(3)
HELD_OUT = np.array([2, 7])


def noise(channels: int, seed: int = 0, tokens: int = 17) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(EPISODES), tokens, channels, generator=generator)


def made(source: torch.Tensor, target: torch.Tensor, **options) -> Reconstruction:
    return reconstruct(source, target, EPISODES, HELD_OUT, **options)


def test_a_linear_map_of_the_source_is_reconstructed_wholly() -> None:
    source = noise(6)
    found = made(source, source @ noise(9, 1)[0, :6] + 5)
    assert found.explained > 1 - 1e-9
    assert found.information > 20


def test_of_noise_nothing_is_reconstructed() -> None:
    found = made(noise(6), noise(9, 1))
    assert abs(found.explained) < 0.02
    assert abs(found.information) < 0.03


def test_information_falls_with_noise_and_is_that_of_its_variance() -> None:
    signal, other = noise(8), noise(8, 1)
    found = [made(signal, signal + level * other, tokens=500) for level in (0.25, 0.5, 1.0, 2.0)]
    expected = [np.log2(1 + 1 / level**2) for level in (0.25, 0.5, 1.0, 2.0)]
    np.testing.assert_allclose([r.information for r in found], expected, rtol=0.1, atol=0.02)
    ratios = [r.ratio(found[0])[0] or 0 for r in found]
    assert ratios[0] == 1 and ratios == sorted(ratios, reverse=True)


def test_figures_are_those_of_the_held_out_episodes() -> None:
    source = noise(6)
    target = source.clone()
    target[torch.from_numpy(np.isin(EPISODES, HELD_OUT))] *= -1  # the others teach wrong
    found = made(source, target)
    assert found.loss == pytest.approx(4 * found.dummy_loss, rel=0.01)
    assert found.explained == pytest.approx(-3, rel=0.02)


def test_what_never_changes_is_not_counted_as_change() -> None:
    places = 10 * noise(4, 2)[:1]
    source, target = places + noise(4), 10 * noise(7, 3)[:1] + noise(7, 1)
    assert made(source, target, of="change").explained < 0.05
    moving = 10 * noise(4, 3)[:1] + noise(4) * 0.5
    assert made(places + noise(4), moving, of="change").explained > 0.99


def test_channels_that_are_dead_or_fewer_tokens_than_channels_do_no_harm() -> None:
    source = noise(40)
    source[..., 3] = 2.0
    found = made(source, source[..., :2].clone(), tokens=20)
    assert np.isfinite(found.information) and found.ridge > 0


# Table 2 of the S² paper, test set: l_0 follows from the first row of a target, the others must agree.
@pytest.mark.parametrize(
    ("losses", "bits"),
    [
        ((0.0994, 0.0942, 0.0944), (0.524, 0.601, 0.598)),
        ((0.3413, 0.3170, 0.3022), (1.723, 1.830, 1.900)),
        ((0.4231, 0.3970, 0.3354), (1.413, 1.505, 1.749)),
    ],
)
def test_information_is_the_papers(losses: tuple[float, ...], bits: tuple[float, ...]) -> None:
    dummy_loss = losses[0] * 2 ** bits[0]
    assert [information(loss, dummy_loss) for loss in losses] == pytest.approx(bits, abs=2e-3)


def test_the_ratio_has_the_error_of_episodes_that_differ() -> None:
    dummy = np.ones(6)
    reference = Reconstruction(np.full(6, 0.25), dummy, 1.0)
    assert reference.information == 2
    even = Reconstruction(np.full(6, 0.5), dummy, 1.0)
    uneven = Reconstruction(np.array([0.1, 0.9, 0.5, 0.5, 0.2, 0.8]), dummy, 1.0)
    assert even.ratio(reference) == (0.5, 0.0)
    assert uneven.ratio(reference)[0] == pytest.approx(0.5)
    assert (uneven.ratio(reference)[1] or 0) > 0.05
    assert even.ratio(Reconstruction(dummy, dummy, 1.0)) == (None, None)


def test_a_finer_grid_is_resampled_by_area() -> None:
    tokens = torch.arange(17.0).reshape(1, 17, 1)
    matched = match_grid(tokens, 5)
    assert matched.flatten().tolist() == [0, 3.5, 5.5, 11.5, 13.5]
    target = match_grid(noise(4), 5)
    assert made(noise(4), target).explained > 0.999


def test_one_training_episode_is_refused() -> None:
    features = noise(3)
    said = refusal(lambda: reconstruct(features, features, EPISODES, np.arange(1, 10)))
    assert "1 demos to fit a linear map to, 9 held out" in said


FOLD = np.arange(40) % 5
DIFFICULTY = np.random.default_rng(0).uniform(1, 3, 40)  # of an episode, the same for every model


def candidate(
    name: str, macs: int, better: float, larger: bool = False, spread: float = 0.1
) -> CandidateErrors:
    own = np.random.default_rng(macs).normal(0, spread, 40)
    return CandidateErrors(name, macs, larger, DIFFICULTY - better + own - own.mean())


def test_the_recommendation_follows_the_errors() -> None:
    small, multi = candidate("small", 1, 0.0), candidate("multi", 5, 0.5)
    worse, better = (candidate("large", 4, gain, larger=True) for gain in (0.1, 0.9))
    found = recommend([small, multi, worse], FOLD, "the cube", "cm")
    assert (found.choice, found.larger) == ("multi", False)
    assert found.words.startswith(
        "On these frames a larger model is not worth it: multi reads the cube 0.40 +-"
    )
    found = recommend([small, multi, better], FOLD, "the cube", "cm")
    assert (found.choice, found.larger) == ("large", True)
    assert "large reads the cube 0.90 +-" in found.words and "4.0 times the multiply-acc" in found.words
    assert "multi reads the cube 0.40 +- " in found.words and "worse than large" in found.words


def test_what_the_intervals_leave_open_is_not_claimed() -> None:
    small, large = candidate("small", 1, 0.0), candidate("large", 4, 0.1, larger=True, spread=1.0)
    found = recommend([small, large], FOLD, "the cube", "cm")
    assert found.choice == "small"
    assert "not shown to be worth it" in found.words and "is not worth it" not in found.words
    (against,) = found.gains
    assert against.low < 0 < against.high and f"up to {against.high:.2f} cm" in found.words


def test_a_gain_below_what_counts_changes_nothing() -> None:
    pair = [candidate("small", 1, 0.0), candidate("large", 4, 0.4, larger=True)]
    assert recommend(pair, FOLD, "the cube", "cm", least_gain=0.2).choice == "large"
    found = recommend(pair, FOLD, "the cube", "cm", least_gain=1.0)
    assert found.choice == "small" and "1 cm is the least that counts" in found.words


def test_a_larger_model_has_to_beat_s2_as_well() -> None:
    noisy = np.random.default_rng(7).normal(0, 1.5, 40)
    small, large = candidate("small", 1, 0.0), candidate("large", 5, 0.34, larger=True)
    multi = CandidateErrors("multi", 4, False, DIFFICULTY - 0.4 + noisy - noisy.mean())
    found = recommend([small, multi, large], FOLD, "the cube", "cm")
    assert (found.choice, found.larger) == ("small", False)
    assert "not shown to be worth it: large reads the cube 0.34 +-" in found.words
    assert "better than small, but is not shown to read it better than all that costs less" in found.words
    assert "large is not shown to read the cube better than multi (gain" in found.words
    assert [(g.first, g.second) for g in found.gains] == [
        ("small", "multi"),
        ("small", "large"),
        ("multi", "large"),
    ]
    better = candidate("large", 5, 2.5, larger=True)
    assert recommend([small, multi, better], FOLD, "the cube", "cm").choice == "large"


def test_heads_that_read_no_better_than_guessing_recommend_nothing() -> None:
    pair = [candidate("small", 1, 0.0), candidate("large", 4, 0.9, larger=True)]
    baseline = float(pair[1].errors.mean())
    found = recommend(pair, FOLD, "the cube", "cm", baseline=baseline)
    assert (found.choice, found.larger, found.gains) == (None, False, ())
    assert found.words.startswith(
        "No recommendation: no head reads the cube in these frames. The best, large, is"
    )
    assert recommend(pair, FOLD, "the cube", "cm", baseline=baseline + 0.01).choice == "large"


def test_heads_that_read_hardly_better_than_guessing_are_no_ground_for_confidence() -> None:
    pair = [candidate("small", 1, 0.0), candidate("large", 4, 0.9, larger=True)]
    best = float(pair[1].errors.mean())
    words = recommend(pair, FOLD, "the cube", "cm", baseline=1.9 * best).words
    assert words.startswith(
        "Little to go by: the best head, of large, reads the cube hardly better than guessing "
        f"({best:.2f} cm off; predicting the mean is {1.9 * best:.2f} cm off)."
    )
    assert recommend(pair, FOLD, "the cube", "cm", baseline=2.1 * best).words.startswith("On these frames")


def test_that_the_chosen_one_costs_more_is_said() -> None:
    multi = candidate("multi", 5, 0.5)
    worse = candidate("large", 4, 0.1, larger=True)
    found = recommend([candidate("small", 1, 0.0), multi, worse], FOLD, "the cube", "cm")
    assert "better than large (which takes only 1/1.2 of the multiply-accumulates)." in found.words


def test_luck_of_a_fold_widens_the_interval() -> None:
    first = candidate("first", 1, 0.0)
    luck = np.array([0.6, -0.2, 0.4, -0.1, 0.8])[FOLD]
    even, lucky = (CandidateErrors("second", 2, True, first.errors - shift) for shift in (luck.mean(), luck))
    assert gain(first, even, FOLD).standard_error < 1e-9
    found = gain(first, lucky, FOLD)
    assert found.mean == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(luck[:5].std(ddof=1) * np.sqrt(1 / 5 + 1 / 4))
    assert found.low < 0 < found.high


QUICK = (
    *("small=random-tiny", "larger=random-small", "sizes=[[32],[32,64]]", "larger_sizes=[[32]]"),
    *("bf16=false", "threads=1", "folds=2", "frames=2", "steps=3", "repeats=1", "tokens=40", "curve=[1,9]"),
)


@pytest.fixture(scope="module")
def advice(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("advise")
    reference = "reference=random-base"
    assert toy_loop.s2robot("advise", f"demos={toy_store}", f"out={out}", *QUICK, reference) == 0
    return out


def test_the_file_says_what_each_reads_reconstructs_and_costs(advice: Path, toy_store: Path) -> None:
    found = json.loads((advice / "advice.json").read_text())
    assert (found["read"], found["unit"], found["demos"], found["frames"]) == (
        "the place of the start",
        "cm",
        4,
        8,
    )
    assert found["demos_sha256"] == DemoStore.open(toy_store).digest()
    rows = {row["name"]: row for row in found["candidates"]}
    single, multi, large = "random-tiny (32)", "S² on random-tiny (32+64)", "random-small (32)"
    assert list(rows) == [single, multi, large]
    assert rows[multi]["macs"] == 5 * rows[single]["macs"]
    for row in rows.values():
        assert [p["demos"] for p in row["probes"]["mean"]] == [1, 2]
        assert row["probes"]["mean"][-1]["mean"] == pytest.approx(np.mean(row["errors_by_episode"]["mean"]))
        assert row["latency_ms"] > 0 and row["frames_per_s"] > 0
    assert rows[large]["reconstruction"] == {}
    ceiling = found["reference"]["reconstruction"]["all"]
    assert ceiling["ratio"] == 1
    for name in (single, multi):
        r = rows[name]["reconstruction"]["all"]
        assert r["information_bits"] == pytest.approx(-np.log2(r["loss"] / r["dummy_loss"]))
        assert r["ratio"] == pytest.approx(r["information_bits"] / ceiling["information_bits"])


def test_the_page_shows_the_words_and_one_plot_and_loads_nothing(advice: Path) -> None:
    page = (advice / "advice.html").read_text()
    found = json.loads((advice / "advice.json").read_text())
    assert found["recommendation"]["words"] in page.replace("&#39;", "'")
    assert page.count("<svg") == 1
    svg = page[page.index("<svg") : page.index("</svg>")]
    assert all(row["name"] in svg for row in found["candidates"])
    assert "<script" not in page and "src=" not in page


def without_start(toy_store: Path, copy: Path) -> Path:
    store = shutil.copytree(toy_store, copy, ignore=shutil.ignore_patterns("features"))
    for path in store.glob("*/zarr.json"):
        write_attributes(path, lambda attributes: attributes.pop("start"))
    return store


def test_without_a_start_the_proprioception_is_read(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = without_start(toy_store, tmp_path / "demos")
    capsys.readouterr()
    assert toy_loop.s2robot("advise", f"demos={store}", *QUICK, "sizes=[[32]]", "json=true") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["read"], found["unit"], found["reference"]) == ("the proprioception", "sd", None)
    assert found["baseline"] == pytest.approx(1, abs=0.3)
    probe_set = draw_frames(DemoStore.open(store), "front", 3, 0, "proprio")
    np.testing.assert_allclose(probe_set.target.std(0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["larger=nowhere/large.safetensors"], "nowhere/large.safetensors"),
        (["small=random-small"], "small and larger are both random-small"),
        (["sizes=[[32],[32]]"], "the same encoder and sizes twice"),
        (["poolings=[median]"], "unknown pooling 'median'"),
        (["crop=[0.5,0,0.4,1]"], "crop=[0.5, 0.0, 0.4, 1.0]: expected [left, top, right, bottom]"),
        (["folds=5"], "folds=5: expected 2 to 4"),
        (["camera=side"], "unknown camera 'side'"),
        (["least_gain=-1"], "least_gain=-1: expected 0 or more"),
        (["threads=-3"], "threads=-3: expected 1 or more"),
        (["seed=-1"], "seed=-1: expected 0 or more"),
        (["sizes=[[]]"], "sizes=[]: "),
        (["larger_sizes=[[0]]"], "larger_sizes=0: expected 1 or more"),
        (["small=random-base"], "0.43 G: expected the larger model as larger="),
    ],
)
def test_a_mistake_is_one_line(
    toy_store: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in toy_loop.refusal(capsys, "advise", f"demos={toy_store}", *QUICK, *options)


def test_a_crop_is_of_the_frames_that_all_are_given(
    toy_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = []
    for crop in ("[0.5,0,1,0.5]", "[0,0,1,1]"):
        given = (*QUICK, "poolings=[mean]", "sizes=[[32]]", "curve=[2]", f"crop={crop}", "json=true")
        assert toy_loop.s2robot("advise", f"demos={toy_store}", *given) == 0
        found = json.loads(capsys.readouterr().out)["candidates"]
        errors.append([row["errors_by_episode"] for row in found])
    assert errors[0] != errors[1]


def test_what_was_broken_off_goes_on(
    toy_store: Path, tmp_path: Path, advice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def breaks_off_at_the_third(*arguments: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cross_validate(*arguments)

    monkeypatch.setattr("s2robot.advise.candidate.cross_validate", breaks_off_at_the_third)
    command = ("advise", f"demos={toy_store}", f"out={tmp_path}", *QUICK)
    with contextlib.suppress(KeyboardInterrupt):
        toy_loop.s2robot(*command)
    assert len(calls) == 3 and not (tmp_path / "advice.json").exists()
    assert toy_loop.s2robot(*command) == 0
    assert len(calls) == 3 + 12 - 2  # 3 models, 2 poolings, 2 numbers of demos: two were done
    errors = [
        [row["errors_by_episode"] for row in json.loads((folder / "advice.json").read_text())["candidates"]]
        for folder in (tmp_path, advice)
    ]
    assert errors[0] == errors[1]
    monkeypatch.undo()
    next((tmp_path / "heads").iterdir()).write_bytes(b"")
    (tmp_path / "advice.json").unlink()
    assert "is damaged" in refusal(
        lambda: advise_command.main(
            read_options(advise_command.AdviseOptions, compose("advise", list(command[1:])))
        )
    )


def test_a_file_is_no_folder_for_an_advice(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    said = toy_loop.refusal(capsys, "advise", f"demos={toy_store}", f"out={tmp_path / 'file'}", *QUICK)
    assert "is a file: expected a folder" in said


def test_an_advice_is_not_replaced_unasked(
    advice: Path, toy_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (advice / "advice.json").read_bytes()
    said = toy_loop.refusal(capsys, "advise", f"demos={toy_store}", f"out={advice}", *QUICK)
    assert "overwrite=true replaces it" in said
    assert (advice / "advice.json").read_bytes() == before
