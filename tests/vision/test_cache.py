"""Features of a demo store: computed once, found again, and never those of something else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from mistakes import refusal

from s2robot.data.store import DemoStore
from s2robot.utils.provenance import has_bf16
from s2robot.vision.cache import FeatureCache, encode_store
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import FeatureExtractor, make_extractor

ENCODER = EncoderOptions(name="random-tiny", sizes=(64,))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_loop.record(tmp_path_factory.mktemp("cache") / "demos", 2, "env.image_size=32")


@pytest.fixture(scope="module")
def encoded(recorded: Path) -> FeatureCache:
    return encode_store(recorded, None, ENCODER)


@pytest.fixture
def mine(recorded: Path, encoded: FeatureCache, tmp_path: Path) -> tuple[DemoStore, FeatureCache]:
    """A copy of the store and its features, to spoil."""
    store = DemoStore.open(shutil.copytree(recorded, tmp_path / "demos"))
    return store, encode_store(store.path, None, ENCODER)


def times(cache: FeatureCache) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.folder.rglob("*.npy")}


def test_features_are_those_of_the_frames(recorded: Path, encoded: FeatureCache) -> None:
    store = DemoStore.open(recorded)
    extractor = FeatureExtractor("random-tiny", [64])
    for episode_id in store.ids():
        for camera in store.spec.cameras:
            features = encoded.load(store, episode_id, camera)
            assert isinstance(features, np.memmap)
            assert (features.dtype, features.shape) == (
                np.float16,
                (store.episode(episode_id).length, *extractor.shape),
            )
            frames = store.episode(episode_id).images(camera)[:8]
            assert np.array_equal(features[: len(frames)], extractor(frames))


def test_the_folder_says_what_made_it(recorded: Path, encoded: FeatureCache) -> None:
    identity = json.loads((encoded.folder / "identity.json").read_text())
    assert identity == make_extractor(ENCODER, None).identity
    assert encoded.folder.parent == recorded / "features"
    assert encoded.size() == sum(path.stat().st_size for path in times(encoded))


def test_what_is_there_is_not_computed_again(mine: tuple[DemoStore, FeatureCache]) -> None:
    store, cache = mine
    gone = cache.path(store, "000001", "wrist")
    gone.unlink()
    before = times(cache)
    encode_store(store.path, None, ENCODER)
    after = times(cache)
    assert after.keys() - before.keys() == {gone}
    assert before.items() <= after.items()


def test_one_camera_alone(recorded: Path, tmp_path: Path) -> None:
    cache = encode_store(recorded, tmp_path, ENCODER, cameras=["wrist"])
    assert {path.name for path in times(cache)} == {"wrist.npy"}
    assert cache.folder.parent == tmp_path


@pytest.mark.parametrize(
    ("change", "bf16"),
    [
        ({"sizes": (112,)}, None),
        ({"name": "mvp-tiny-sim"}, None),
        ({"fit": "crop"}, None),
        ({}, not has_bf16()),
    ],
    ids=["sizes", "weights", "fit", "compute"],
)
def test_other_features_lie_elsewhere(
    recorded: Path, encoded: FeatureCache, change: dict, bf16: bool | None
) -> None:
    key = make_extractor(replace(ENCODER, **change), bf16).key
    assert key != encoded.folder.name
    store = DemoStore.open(recorded)
    other = FeatureCache(encoded.folder.parent, {}, key)
    message = refusal(lambda: other.load(store, "000000", "front"))
    assert message == "no features of front, episode 000000: run `s2robot encode`"


def test_an_episode_that_was_replaced_is_computed_anew(mine: tuple[DemoStore, FeatureCache]) -> None:
    store, cache = mine
    stale = np.array(cache.load(store, "000000", "front"))
    shutil.rmtree(store.path / "000000")
    shutil.copytree(store.path / "000001", store.path / "000000")
    assert "no features of front, episode 000000" in refusal(lambda: cache.load(store, "000000", "front"))
    encode_store(store.path, None, ENCODER)
    fresh = cache.load(store, "000000", "front")
    assert np.array_equal(fresh, cache.load(store, "000001", "front"))
    assert not np.array_equal(fresh, stale)


def test_features_are_the_same_for_any_number_of_workers(
    recorded: Path, encoded: FeatureCache, tmp_path: Path
) -> None:
    together = encode_store(recorded, tmp_path, ENCODER, workers=2)
    names = {path.relative_to(encoded.folder) for path in times(encoded)}
    assert {path.relative_to(together.folder) for path in times(together)} == names
    assert all((together.folder / n).read_bytes() == (encoded.folder / n).read_bytes() for n in names)


@pytest.mark.parametrize("kept", [0, 50, 1000])
def test_a_damaged_file_is_told_in_one_line(mine: tuple[DemoStore, FeatureCache], kept: int) -> None:
    store, cache = mine
    path = cache.path(store, "000000", "front")
    path.write_bytes(path.read_bytes()[:kept])
    message = refusal(lambda: cache.load(store, "000000", "front"))
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith("delete it and run `s2robot encode`")


def test_an_unknown_camera_is_refused(recorded: Path) -> None:
    message = refusal(lambda: encode_store(recorded, None, ENCODER, cameras=["frnt"]))
    assert message == "unknown camera 'frnt': did you mean 'front'? valid: front, wrist"
    wrong = replace(ENCODER, camera_fit={"wirst": "crop"})
    message = refusal(lambda: encode_store(recorded, None, wrong))
    assert message == "unknown camera of encoder.fit 'wirst': did you mean 'wrist'? valid: front, wrist"
    wrong = replace(ENCODER, crop={"wirst": (0, 0, 1, 0.5)})
    message = refusal(lambda: encode_store(recorded, None, wrong))
    assert message == "unknown camera of encoder.crop 'wirst': did you mean 'wrist'? valid: front, wrist"


def test_a_store_without_cameras_is_refused(recorded: Path, tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "blind", replace(DemoStore.open(recorded).spec, cameras={}))
    message = refusal(lambda: encode_store(store.path, None, ENCODER))
    assert message == f"{store} has no cameras: its episodes hold no frames to encode"


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    message = refusal(lambda: encode_store(tmp_path / "demos", None, ENCODER))
    assert message.startswith(f"no demo store at {tmp_path / 'demos'}")
    assert not any(tmp_path.iterdir())


def test_features_that_cannot_be_written_leave_nothing_behind(
    mine: tuple[DemoStore, FeatureCache], tmp_path: Path
) -> None:
    store, cache = mine
    (tmp_path / "file").write_text("")
    blocked = FeatureCache(tmp_path / "file", {}, "key")
    features = cache.load(store, "000000", "front")
    message = refusal(lambda: blocked.save(blocked.path(store, "000000", "front"), features))
    assert message.startswith("cannot write") or "Not a directory" in message
