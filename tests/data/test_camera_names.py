"""Camera names that are also methods, or hold a dot: kept by the store, the formats and the cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from kill_writer import SPEC, made_episode
from mistakes import refusal

from s2robot.core.spec import RobotSpec
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.data.store import DemoStore
from s2robot.data.validate import validate

NAMES = ("observation.image", "keys", "forward", "wrist.left", "top camera")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    spec = replace(SPEC, cameras=dict.fromkeys(NAMES, (16, 16, 3)))
    store = DemoStore.create(tmp_path_factory.mktemp("names") / "demos", spec)
    store.append(made_episode(0, 0, spec, steps=6))
    return store


def test_a_store_gives_back_the_frames_of_each(store: DemoStore) -> None:
    made = made_episode(0, 0, store.spec, steps=6)
    for name in NAMES:
        np.testing.assert_array_equal(store.episode("000000").images(name), made.images[name])
    assert validate(store) == []


@pytest.mark.parametrize("name", ["demos.zarr", "demos.zarr.zip"])
def test_a_replay_buffer_gives_back_the_frames_of_each(store: DemoStore, tmp_path: Path, name: str) -> None:
    source, back = tmp_path / name, tmp_path / "back"
    form = "format=diffusion_policy"
    assert toy_loop.s2robot("export", form, f"demos={store.path}", f"out={source}") == 0
    assert toy_loop.s2robot("import", form, f"demos={source}", f"out={back}") == 0
    assert DemoStore.open(back).digest() == store.digest()
    assert DemoStore.open(back).spec == store.spec


def test_each_has_its_film(store: DemoStore, tmp_path: Path) -> None:
    out = tmp_path / "films"
    assert toy_loop.s2robot("export", "format=mp4", f"demos={store.path}", f"out={out}") == 0
    assert {path.name for path in out.glob("000000/*")} == {f"{name}.mp4" for name in NAMES}


def test_the_page_shows_them(store: DemoStore, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert toy_loop.s2robot("demos", "inspect", store.path, f"out={out}") == 0
    assert all(name in out.read_text() for name in NAMES)


def test_each_has_its_features_and_its_windows(store: DemoStore, tmp_path: Path) -> None:
    root = tmp_path / "features"
    options = (*toy_loop.ENCODER, f"features={root}", "workers=0", "augment.variants=0")
    assert toy_loop.s2robot("encode", f"demos={store.path}", *options) == 0
    files = {path.name.removesuffix(".npy"): path for path in root.rglob("*.npy")}
    assert set(files) == set(NAMES)
    features = {name: np.load(path) for name, path in files.items()}
    assert len({array.tobytes() for array in features.values()}) == len(NAMES), "different frames"
    reader = store.episode("000000")
    episode = EpisodeFeatures(features, reader.proprio, reader.action, np.ones(6, bool))
    window = WindowDataset([episode], 2, 4)[3]
    for name in NAMES:
        np.testing.assert_array_equal(window[f"features/{name}"], features[name][2:4])


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "", ".", "a//b"])
def test_a_name_that_is_no_path_inside_an_episode_is_refused(name: str, store: DemoStore) -> None:
    plain = json.loads(json.dumps(store.spec.to_dict())) | {"cameras": {name: [16, 16, 3]}}
    assert f"camera '{name}'" in refusal(lambda: RobotSpec.from_dict(plain))
