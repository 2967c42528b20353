"""Variants of images: drawn for a whole video, encoded once, trained on beside what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from hypothesis import given
from hypothesis import strategies as st
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


@given(st.integers(1, 5), st.floats(0, 0.4), st.floats(0, 0.9))
def test_a_variant_is_a_function_of_its_name_and_leaves_the_frames_alone(
    variant: int, shift: float, colour: float
) -> None:
    augmentation, before = Augmentation(5, shift, colour), VIDEO.copy()
    one = augmentation.apply(VIDEO, variant, "digest", "front")
    assert (one.shape, one.dtype) == (VIDEO.shape, np.uint8)
    np.testing.assert_array_equal(VIDEO, before)
    fewer = Augmentation(variant, shift, colour)
    np.testing.assert_array_equal(fewer.apply(VIDEO, variant, "digest", "front"), one)


def test_frames_of_a_video_are_changed_alike() -> None:
    still = np.repeat(VIDEO[:1], 4, axis=0)
    changed = Augmentation(1, 0.2, 0.5).apply(still, 1, "digest", "front")
    assert (changed == changed[:1]).all() and (changed[0] != still[0]).any()


def test_variants_videos_and_seeds_differ() -> None:
    augmentation = Augmentation(2, 0.2, 0.5)
    names = [(1, "a", "front"), (2, "a", "front"), (1, "b", "front"), (1, "a", "wrist")]
    made = [augmentation.apply(VIDEO, *name) for name in names]
    made.append(Augmentation(2, 0.2, 0.5, seed=1).apply(VIDEO, *names[0]))
    assert len({frames.tobytes() for frames in made}) == 5


def test_a_shift_alone_moves_the_image_and_repeats_its_edge() -> None:
    moved = Augmentation(1, 0.25, 0.0).apply(VIDEO, 1, "digest", "front")
    padded = np.pad(VIDEO, ((0, 0), (10, 10), (10, 10), (0, 0)), mode="edge")
    places = [
        (t, left)
        for t in range(21)
        for left in range(21)
        if np.array_equal(padded[:, t : t + 40, left : left + 40], moved)
    ]
    assert len(places) == 1


def test_nothing_asked_for_changes_nothing() -> None:
    np.testing.assert_array_equal(Augmentation(1, 0.0, 0.0).apply(VIDEO, 1, "digest", "front"), VIDEO)


@dataclass(frozen=True)
class Section:
    augment: Augmentation


@pytest.mark.parametrize("given", [{"variants": -1}, {"shift": 1.0}, {"colour": -0.1}, {"colour": "red"}])
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    assert refusal(lambda: read_options(Section, {"augment": given})).startswith(f"augment.{name}=")


def test_an_unknown_option_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"demos={tmp_path}", "augment.color=0.1"]
    assert "augment.colour" in toy_loop.refusal(capsys, "encode", *given)


def test_each_variant_has_a_cache_of_its_own(tmp_path: Path) -> None:
    store = DemoStore.open(toy_loop.record(tmp_path / "demos", 1, "env.image_size=32"))
    augmentation, (camera, *_) = Augmentation(2, 0.1, 0.3), store.spec.cameras
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


def test_training_takes_them(tmp_path: Path) -> None:
    demos = toy_loop.record(tmp_path / "demos", 2, "env.image_size=32")
    given = [f"demos={demos}", f"out={tmp_path / 'policy'}", *TRAIN, "augment.variants=1"]
    assert s2robot("train", *given) == 0
    assert len(list((demos / "features").iterdir())) == 2
    given = [f"demos={demos}", f"features={tmp_path / 'features'}", *ENCODER_OPTIONS, "augment.variants=1"]
    assert s2robot("encode", *given, "workers=0") == 0
    assert len(list((tmp_path / "features").iterdir())) == 2
