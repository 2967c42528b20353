"""Variants of images: drawn for a whole video, encoded once, trained on beside what was recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import SPEC
from kill_writer import made_episode as recorded_episode
from mistakes import refusal
from toy_loop import ENCODER as ENCODER_OPTIONS
from toy_loop import TRAIN, made_episode, s2robot

from s2robot.config.options import read_options
from s2robot.data.dataset import WindowDataset
from s2robot.data.store import DemoStore
from s2robot.train.demos import split_episodes
from s2robot.train.memory import into_memory
from s2robot.vision.augment import Augmentation
from s2robot.vision.cache import encode_store
from s2robot.vision.encoders.options import EncoderOptions

ENCODER = EncoderOptions("random-tiny", (64,))
RNG = np.random.default_rng(0)
VIDEO = RNG.integers(256, size=(3, 40, 40, 3), dtype=np.uint8)


OFF: dict[str, Any] = {"shift": 0.0, "crop": 0.0, "colour": 0.0, "light": 0.0, "blur": 0.0}


def only(**options: Any) -> Augmentation:
    """Variants by these options alone."""
    return Augmentation(**(OFF | options))


shares = st.floats(0, 0.99)
options = st.fixed_dictionaries(dict.fromkeys(OFF, shares) | {"blur": st.floats(0, 0.1)})
sizes = st.tuples(*(st.integers(1, 24),) * 2)


@given(options, st.integers(1, 5), sizes)
def test_a_variant_is_a_function_of_its_name_and_leaves_the_frames_alone(
    options: dict[str, Any], variant: int, size: tuple[int, int]
) -> None:
    video = np.random.default_rng(0).integers(256, size=(2, *size, 3), dtype=np.uint8)
    before = video.copy()
    one = Augmentation(5, **options).apply(video, variant, "digest", "front")
    assert (one.shape, one.dtype) == (video.shape, np.uint8)
    np.testing.assert_array_equal(video, before)
    fewer = Augmentation(variant, **options)
    np.testing.assert_array_equal(fewer.apply(video, variant, "digest", "front"), one)


@pytest.mark.parametrize("changed", [{name: 0.1} for name in OFF] + [{}])
def test_frames_of_a_video_are_changed_alike_and_videos_otherwise(changed: dict[str, float]) -> None:
    augmentation = only(**changed) if changed else Augmentation()
    still = np.repeat(VIDEO[:1], 4, axis=0)
    one = augmentation.apply(still, 1, "digest", "front")
    assert (one == one[:1]).all() and (one[0] != still[0]).any()
    assert (augmentation.apply(still, 1, "another", "front") != one).any()
    parts = [augmentation.apply(part, 1, "digest", "front") for part in (still[:1], still[1:])]
    np.testing.assert_array_equal(np.concatenate(parts), one)


GREY = np.full((1, 40, 60, 3), 128, np.uint8)


@pytest.mark.parametrize("variant", range(1, 6))
def test_light_changes_smoothly_over_the_image(variant: int) -> None:
    lit = only(light=0.5).apply(GREY, variant, "digest", "front")[0, ..., 0].astype(int)
    assert lit.max() > lit.min()
    assert max(np.abs(np.diff(lit, axis=axis)).max() for axis in (0, 1)) <= 8
    edge = np.concatenate([lit[0], lit[-1], lit[:, 0], lit[:, -1]])
    assert edge.max() == lit.max() or edge.min() == lit.min()


def test_blur_and_crop_leave_an_even_image_and_change_another() -> None:
    dot = np.zeros((1, 41, 41, 3), np.uint8)
    dot[:, 20, 20] = 255
    blurred = only(blur=0.1).apply(dot, 1, "digest", "front")[0, ..., 0].astype(int)
    assert blurred.max() == blurred[20, 20] < 255 and np.abs(blurred - blurred.T).max() <= 1
    for augmentation in (only(blur=0.1), only(crop=0.3)):
        np.testing.assert_array_equal(augmentation.apply(GREY, 1, "digest", "front"), GREY)


def test_a_crop_shows_a_part_of_the_image_and_enlarges_it() -> None:
    row = np.broadcast_to(np.linspace(0, 255, 100).round().astype(np.uint8), (100, 100))
    ramp = np.repeat(row[..., None], 3, axis=2)[None]
    for variant in range(1, 6):
        cropped = only(crop=0.5).apply(ramp, variant, "digest", "front")[0, 50, :, 0].astype(int)
        assert (np.diff(cropped) >= 0).all()
        assert 0.5 * 255 - 8 <= cropped[-1] - cropped[0] < 255


def test_colour_turns_hues_little_and_leaves_grey_grey() -> None:
    red = GREY * 0 + np.array([200, 30, 30], np.uint8)
    pixels = [only(colour=0.9).apply(red, v, "digest", "front")[0, 0, 0].tolist() for v in range(1, 6)]
    assert all(pixel[0] == max(pixel) for pixel in pixels) and len({p[1] - p[2] for p in pixels}) > 1
    grey = only(colour=0.9).apply(GREY, 1, "digest", "front")
    assert np.ptp(grey, axis=-1).max() == 0


def test_variants_by_shift_alone_are_those_that_older_caches_hold() -> None:
    shifted = only(shift=0.25).apply(VIDEO, 1, "digest", "front")
    assert hashlib.sha256(shifted.tobytes()).hexdigest().startswith("ce6cabd19c286193")
    assert only(shift=0.25).identity(2) == {"shift": 0.25, "colour": 0.0, "seed": 0, "variant": 2}


@pytest.mark.parametrize("changed", [{name: 0.1} for name in OFF])
def test_an_option_that_is_on_is_part_of_the_identity(changed: dict[str, float]) -> None:
    assert only(**changed).identity(1) != only().identity(1)


def test_caches_of_colours_without_hues_are_not_taken_for_those_with() -> None:
    before = {"shift": 0.05, "colour": 0.2, "seed": 0, "variant": 1}
    assert only(shift=0.05, colour=0.2).identity(1) != before


def test_variants_videos_and_seeds_differ() -> None:
    augmentation = Augmentation(2)
    names = [(1, "a", "front"), (2, "a", "front"), (1, "b", "front"), (1, "a", "wrist")]
    made = [augmentation.apply(VIDEO, *name) for name in names]
    made.append(Augmentation(2, seed=1).apply(VIDEO, *names[0]))
    assert len({frames.tobytes() for frames in made}) == 5


def test_a_shift_alone_moves_the_image_and_repeats_its_edge() -> None:
    moved = only(shift=0.25).apply(VIDEO, 1, "digest", "front")
    padded = np.pad(VIDEO, ((0, 0), (10, 10), (10, 10), (0, 0)), mode="edge")
    places = [
        (t, left)
        for t in range(21)
        for left in range(21)
        if np.array_equal(padded[:, t : t + 40, left : left + 40], moved)
    ]
    assert len(places) == 1


def test_nothing_asked_for_changes_nothing() -> None:
    np.testing.assert_array_equal(only().apply(VIDEO, 1, "digest", "front"), VIDEO)


@dataclass(frozen=True)
class Section:
    augment: Augmentation


@pytest.mark.parametrize(
    "given",
    [
        {"variants": -1},
        {"shift": 1.0},
        {"colour": -0.1},
        {"colour": "red"},
        {"blur": 0.2},
        {"light": 1.0},
        {"crop": 1.0},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    assert refusal(lambda: read_options(Section, {"augment": given})).startswith(f"augment.{name}=")


def test_an_unknown_option_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"demos={tmp_path}", "augment.color=0.1"]
    assert "augment.colour" in toy_loop.refusal(capsys, "encode", *given)


def test_each_variant_has_a_cache_of_its_own(tmp_path: Path) -> None:
    store = DemoStore.open(toy_loop.record(tmp_path / "demos", 1, "env.image_size=32"))
    augmentation, (camera, *_) = Augmentation(2), store.spec.cameras
    caches = [
        encode_store(store.path, None, ENCODER, changed=changed)
        for changed in (None, (augmentation, 1), (augmentation, 2))
    ]
    assert len({cache.folder for cache in caches}) == 3
    plain, first, _ = (cache.load(store, "000000", camera) for cache in caches)
    assert plain.shape == first.shape and (plain != first).any()
    again = encode_store(store.path, tmp_path / "elsewhere", ENCODER, changed=(augmentation, 1), workers=1)
    np.testing.assert_array_equal(again.load(store, "000000", camera), first)


def test_windows_of_variants_follow_those_of_the_recording() -> None:
    plain = made_episode(9)
    other = {name: np.asarray(features[:]) + 1 for name, features in plain.features.items()}
    track = made_episode(9, variants=(other,))
    windows = WindowDataset([track, track], 4, 2)
    assert len(windows) == 36
    for item in (0, 3, 8, 17):
        first, second = windows[item], windows[18 + item]
        for name, tensor in first.items():
            expected = tensor + 1 if name.startswith("features/") else tensor
            assert second[name].equal(expected), name


def test_episodes_have_as_many_variants_each() -> None:
    tracks = [made_episode(9), made_episode(9, variants=(made_episode(9).features,))]
    assert "0 to 1 variants" in refusal(lambda: WindowDataset(tracks))


def test_held_out_episodes_are_scored_as_recorded() -> None:
    tracks = [made_episode(9, variants=(made_episode(9).features,)) for _ in range(4)]
    training, held_out = split_episodes(tracks, 0.25, 0)
    assert [len(t.variants) for t in training] == [1, 1, 1] and [len(t.variants) for t in held_out] == [0]
    assert isinstance(next(iter(into_memory(training)[0].variants[0].values())), np.ndarray)


def test_imported_demos_have_variants_unless_they_are_turned_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = imported(tmp_path / "demos")
    said = "2 variants of each frame, as these demos are not of a simulation: augment.variants=0 for none\n"
    given = [f"demos={demos}", *ENCODER_OPTIONS, "workers=0"]
    assert s2robot("encode", *given, "augment.variants=0", f"features={tmp_path / 'none'}") == 0
    assert len(list((tmp_path / "none").iterdir())) == 1 and said not in capsys.readouterr().out
    assert s2robot("encode", *given) == 0
    assert len(list((demos / "features").iterdir())) == 3 and said in capsys.readouterr().out
    policy = tmp_path / "policy"
    given = toy_loop.training(demos, policy, "steps=2", "warmup=1", "val_fraction=0")
    assert s2robot(*given) == 0
    assert capsys.readouterr().out.startswith(said)
    assert json.loads((policy / "run.json").read_text())["options"]["augment"]["variants"] == 2
    assert s2robot(*given, "augment.variants=2") == 0  # the same training
    assert "augment.variants 2 -> 0" in toy_loop.refusal(capsys, *given, "augment.variants=0")


def imported(path: Path) -> Path:
    """A store that does not say where its two demos were recorded."""
    store = DemoStore.create(path, SPEC)
    for seed in range(2):
        store.append(recorded_episode(0, seed, steps=3))
    return path


def test_training_takes_them(tmp_path: Path) -> None:
    demos = toy_loop.record(tmp_path / "demos", 2, "env.image_size=32")
    given = [f"demos={demos}", f"out={tmp_path / 'policy'}", *TRAIN, "augment.variants=1"]
    assert s2robot("train", *given) == 0
    assert len(list((demos / "features").iterdir())) == 2
    given = [f"demos={demos}", f"features={tmp_path / 'features'}", *ENCODER_OPTIONS, "augment.variants=1"]
    assert s2robot("encode", *given, "workers=0") == 0
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_by_default_nothing_moves_in_the_frame() -> None:
    """With a camera that stands still, moved frames cost 16 of 100 pick-ups (docs/results/augment)."""
    halves = np.zeros((1, 64, 64, 3), np.uint8)
    halves[:, :, 32:] = 200
    for number in range(1, 6):
        changed = Augmentation(5, blur=0.0).apply(halves, number, "digest", "front").astype(int)
        jumps = np.abs(np.diff(changed.sum(axis=-1), axis=2))
        assert (jumps.argmax(axis=2) == 31).all()
