"""The demo store: what goes in comes out, nothing half-written is listed, and mistakes end in one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode
from mistakes import refusal
from stores import SERIES, assert_holds, assert_intact

from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore, Episode, EpisodeReader


@pytest.fixture
def store(tmp_path: Path) -> DemoStore:
    return DemoStore.create(tmp_path / "demos", SPEC)


def snapshot(folder: Path) -> set[tuple[str, int, int]]:
    return {(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


# Round trip


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=20, deadline=None)
@given(
    steps=st.integers(1, 50),
    cameras=st.dictionaries(
        st.sampled_from(["front", "wrist", "side_2"]), st.tuples(st.integers(1, 9), st.integers(1, 9))
    ),
    proprio=st.integers(1, 4),
    action=st.integers(1, 3),
    black=st.booleans(),
    attributes=st.dictionaries(st.text().filter(lambda name: name != "length"), plain, max_size=4),
)
def test_an_episode_reads_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
    cameras: dict[str, tuple[int, int]],
    proprio: int,
    action: int,
    black: bool,
    attributes: dict[str, Any],
) -> None:
    spec = RobotSpec(
        cameras={name: (*size, 3) for name, size in cameras.items()},
        proprio=tuple(f"p{i}" for i in range(proprio)),
        action=tuple(f"a{i}" for i in range(action)),
        action_space="joint",
        rate=10.0,
    )
    episode = made_episode(0, steps, spec, steps)
    episode.attributes = attributes
    if black:
        episode.images = {name: np.zeros_like(frames) for name, frames in episode.images.items()}
    path = tmp_path_factory.mktemp("round_trip") / "demos"
    written = DemoStore.create(path, spec).append(episode)
    reopened = DemoStore.open(path)
    assert reopened.spec == spec
    assert_holds(reopened.episode(written), episode)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> EpisodeReader:
    store = DemoStore.create(tmp_path_factory.mktemp("reader") / "demos", SPEC)
    return store.episode(store.append(made_episode(0, 0, steps=37)))


@settings(deadline=None)
@given(index=st.slices(37) | st.integers(-37, 36))
def test_frames_are_indexed_as_numpy_does(reader: EpisodeReader, index: int | slice) -> None:
    expected = made_episode(0, 0, steps=37).images["front"][index]
    np.testing.assert_array_equal(reader.images("front", index), expected)


def test_a_step_beyond_the_episode_is_an_index_error(reader: EpisodeReader) -> None:
    with pytest.raises(IndexError):
        reader.images("front", 37)


def test_an_unknown_camera_is_named_with_the_valid_ones(reader: EpisodeReader) -> None:
    message = refusal(lambda: reader.images("frnt"))
    assert message == "unknown camera 'frnt': did you mean 'front'? valid: front, wrist"


def test_the_store_is_an_ordinary_zarr_hierarchy(store: DemoStore) -> None:
    episode = made_episode(0, 0)
    episode_id = store.append(episode)
    frames: Any = zarr.open_group(store.path, mode="r")[f"{episode_id}/images/front"]
    np.testing.assert_array_equal(frames[:], episode.images["front"])


# Ids


def test_default_ids_count_up_and_skip_what_is_there(store: DemoStore) -> None:
    assert store.append(made_episode(0, 0)) == "000000"
    assert store.append(made_episode(0, 1), "by-hand_1") == "by-hand_1"
    assert store.append(made_episode(0, 2), "000007") == "000007"
    (store.path / "000009").write_text("not an episode")
    assert store.append(made_episode(0, 3)) == "000010"
    assert store.ids() == ["000000", "000007", "000010", "by-hand_1"]
    assert len(store) == 4
    assert_intact(store)


def test_only_committed_episodes_are_listed(store: DemoStore) -> None:
    store.append(made_episode(0, 0))
    zarr.create_group(store.path / "features")
    zarr.create_group(store.path / ".hidden")
    (store.path / "000005").mkdir()
    (store.path / "notes.txt").write_text("hello")
    assert store.ids() == ["000000"]
    assert [name in store for name in ("000000", "features", "000005", "../demos/000000", "")] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_dropped_episode_is_hidden_and_its_id_stays_used(store: DemoStore) -> None:
    for n in range(3):
        store.append(made_episode(0, n))
    store.drop("000002")
    reopened = DemoStore.open(store.path)
    assert reopened.ids() == ["000000", "000001"]
    assert "000002" not in reopened
    assert "000002 of" in refusal(lambda: reopened.episode("000002"))
    assert "was dropped" in refusal(lambda: reopened.drop("000002"))
    assert "was dropped" in refusal(lambda: reopened.append(made_episode(0, 3), "000002"))
    assert reopened.append(made_episode(0, 3)) == "000003"


def test_an_unknown_id_is_refused_with_what_there_is(store: DemoStore) -> None:
    assert refusal(lambda: store.episode("7")).endswith("episodes there: 0")
    store.append(made_episode(0, 0))
    store.append(made_episode(0, 1))
    assert refusal(lambda: store.episode("7")).endswith("episodes there: 2, 000000 to 000001")
    assert "unknown episode '7'" in refusal(lambda: store.drop("7"))


@pytest.mark.parametrize("bad", ["", "a/b", "..", "features", ".staging", "a b", "é", "x" * 101])
def test_a_malformed_id_is_refused(store: DemoStore, bad: str) -> None:
    assert f"'{bad}'" in refusal(lambda: store.append(made_episode(0, 0), bad))
    assert store.ids() == []


# Refused episodes


def spoiled(name: str, index: Any, value: float) -> Callable[[Episode], None]:
    def spoil(episode: Episode) -> None:
        getattr(episode, name)[index] = value

    return spoil


def replaced(name: str, change: Callable[[Any], Any]) -> Callable[[Episode], None]:
    return lambda episode: setattr(episode, name, change(getattr(episode, name)))


REFUSED = {
    "nan action": (spoiled("action", (12, 0), np.nan), "action[12] 'dx [m]' is nan"),
    "infinite proprio": (spoiled("proprio", (0, 2), -np.inf), "proprio[0] 'gripper [m]' is -inf"),
    "nan applied": (spoiled("action_applied", (19, 1), np.nan), "action_applied[19] 'gripper [m]' is nan"),
    "nan time": (spoiled("time", 3, np.nan), "time[3] is nan"),
    "time goes back": (spoiled("time", 4, -1.0), "time[4] is -1.0 s after"),
    "float64": (replaced("action", lambda a: a.astype(np.float64)), "expected float32 (20, 2)"),
    "short": (replaced("proprio", lambda a: a[:-1]), "proprio is float32 (19, 3), expected float32 (20, 3)"),
    "wide": (replaced("action", lambda a: np.hstack([a, a])), "action is float32 (20, 4)"),
    "list": (replaced("action_applied", lambda a: a.tolist()), "action_applied is list"),
    "no steps": (replaced("time", lambda a: a[:0]), "no steps"),
    "time in columns": (replaced("time", lambda a: a[:, None]), "time is float64 (20, 1)"),
    "camera missing": (replaced("images", lambda i: {"front": i["front"]}), "images/wrist is NoneType"),
    "camera unknown": (replaced("images", lambda i: {**i, "frnt": i["front"]}), "unknown camera 'frnt'"),
    "float frames": (
        replaced("images", lambda i: {**i, "front": i["front"] / 255}),
        "images/front is float64",
    ),
    "frame size": (
        replaced("images", lambda i: {**i, "front": i["wrist"]}),
        "expected uint8 (20, 24, 32, 3)",
    ),
    "numpy attribute": (replaced("attributes", lambda a: {**a, "seed": np.int64(1)}), "attribute 'seed'"),
    "nan attribute": (replaced("attributes", lambda a: {**a, "reward": np.nan}), "attribute 'reward'"),
}


@pytest.mark.parametrize(("spoil", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_spec_does_not_say_is_refused_without_a_trace(
    store: DemoStore, spoil: Callable[[Episode], None], expected: str
) -> None:
    before = snapshot(store.path)
    episode = made_episode(0, 0, steps=20)
    spoil(episode)
    assert expected in refusal(lambda: store.append(episode))
    assert snapshot(store.path) == before


def test_an_id_that_is_taken_is_refused_and_the_episode_stays(store: DemoStore) -> None:
    store.append(made_episode(0, 0), "mine")
    before = snapshot(store.path)
    assert "episode mine of" in refusal(lambda: store.append(made_episode(0, 1), "mine"))
    assert snapshot(store.path) == before


@pytest.fixture
def rival(store: DemoStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Lets another writer commit an episode just before the next one is renamed into place."""
    rename = os.rename

    def arrange(episode_id: str | None) -> None:
        def late(source: Path, target: Path) -> None:
            monkeypatch.setattr(os, "rename", rename)
            store.append(made_episode(0, 0), episode_id)
            rename(source, target)

        monkeypatch.setattr(os, "rename", late)

    return arrange


def test_of_two_writers_of_one_id_the_first_stays(
    store: DemoStore, rival: Callable[[str | None], None]
) -> None:
    rival("mine")
    assert refusal(lambda: store.append(made_episode(0, 1), "mine")).endswith("exists already")
    assert_holds(store.episode("mine"), made_episode(0, 0))
    assert list((store.path / ".staging").iterdir()) == []


def test_a_default_id_that_was_just_taken_gives_the_next(
    store: DemoStore, rival: Callable[[str | None], None]
) -> None:
    rival(None)
    assert store.append(made_episode(0, 1)) == "000001"
    assert_holds(store.episode("000000"), made_episode(0, 0))
    assert_holds(store.episode("000001"), made_episode(0, 1))


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(store: DemoStore) -> None:
    store.append(made_episode(0, 0))
    before = snapshot(store.path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))  # less than a chunk of frames
    try:
        message = refusal(lambda: store.append(made_episode(0, 1, steps=40)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message == f"cannot write to {store.path}: File too large"
    assert snapshot(store.path) == before
    assert list((store.path / ".staging").iterdir()) == []
    assert store.append(made_episode(0, 1)) == "000001"


def test_appending_to_a_store_that_was_deleted_does_not_bring_it_back(store: DemoStore) -> None:
    shutil.rmtree(store.path)
    assert "cannot write" in refusal(lambda: store.append(made_episode(0, 0)))
    assert not store.path.exists()


# Creating and opening


def test_a_missing_path_is_answered_with_the_stores_nearby(tmp_path: Path) -> None:
    assert "(none)" in refusal(lambda: DemoStore.open(tmp_path / "demso"))
    DemoStore.create(tmp_path / "demos", SPEC)
    zarr.create_group(tmp_path / "another_zarr")
    for missing in ("demso", "no/such/folder"):
        message = refusal(lambda missing=missing: DemoStore.open(tmp_path / missing))
        assert "does not exist" in message
        assert message.endswith(f"demo stores in {tmp_path}: demos")
    assert refusal(lambda: DemoStore.open(tmp_path)).endswith(": demos")


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"zarr_format": 3, "node_type": "group"}'])
def test_what_is_not_a_demo_store_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    assert f"{tmp_path} is not a demo store" in refusal(lambda: DemoStore.open(tmp_path))


def test_another_schema_version_is_refused(store: DemoStore) -> None:
    root = store.path / "zarr.json"
    metadata = json.loads(root.read_text())
    metadata["attributes"]["schema_version"] = 1
    root.write_text(json.dumps(metadata))
    message = refusal(lambda: DemoStore.open(store.path))
    assert "schema version 1" in message
    assert "reads version 2" in message


def test_create_never_touches_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    before = snapshot(tmp_path)
    assert "it holds thesis.tex" in refusal(lambda: DemoStore.create(tmp_path, SPEC))
    assert "it holds thesis.tex" in refusal(lambda: DemoStore.open_or_create(tmp_path, SPEC))
    assert "is a file" in refusal(lambda: DemoStore.create(tmp_path / "thesis.tex", SPEC))
    assert snapshot(tmp_path) == before


def test_create_refuses_a_store(store: DemoStore) -> None:
    before = snapshot(store.path)
    assert "is a demo store already" in refusal(lambda: DemoStore.create(store.path, SPEC))
    assert snapshot(store.path) == before


def test_open_or_create_goes_on_where_the_robot_is_the_same(tmp_path: Path) -> None:
    first = DemoStore.open_or_create(tmp_path / "demos", SPEC, {"task": "cube_pick"})
    first.append(made_episode(0, 0))
    second = DemoStore.open_or_create(tmp_path / "demos", SPEC, {"task": "ignored"})
    assert second.ids() == ["000000"]
    assert second.attributes["task"] == "cube_pick"
    other = RobotSpec(SPEC.cameras, SPEC.proprio, SPEC.action, SPEC.action_space, rate=20.0)
    message = refusal(lambda: DemoStore.open_or_create(tmp_path / "demos", other))
    assert message.endswith("rate: 10.0 against 20.0")


def test_a_store_that_another_process_just_created_is_opened(tmp_path: Path) -> None:
    class LateStore(DemoStore):
        @classmethod
        def create(cls, path: str | Path, spec: RobotSpec, attributes: Any = None) -> DemoStore:
            DemoStore.create(path, spec, {"made_by": "the other"})
            return super().create(path, spec, attributes)

    opened = LateStore.open_or_create(tmp_path / "demos", SPEC, {"made_by": "this one"})
    assert opened.attributes["made_by"] == "the other"


def test_the_root_says_what_made_it(store: DemoStore) -> None:
    attributes = DemoStore.open(store.path).attributes
    assert (attributes["schema"], attributes["schema_version"]) == ("s2robot-demos", 2)
    assert attributes["created_with"]["zarr"] == zarr.__version__
    assert RobotSpec.from_dict(attributes["robot_spec"]) == SPEC


# Digests


def test_the_digest_tells_contents_apart_and_nothing_else(tmp_path: Path) -> None:
    forward, backward = (DemoStore.create(tmp_path / name, SPEC) for name in ("forward", "backward"))
    for n in range(3):
        forward.append(made_episode(0, n), f"e{n}")
        backward.append(made_episode(0, 2 - n), f"e{2 - n}")
    assert forward.digest() == backward.digest() == DemoStore.open(forward.path).digest()
    backward.drop("e1")
    assert forward.digest() != backward.digest()


@pytest.mark.parametrize("name", ["front", *SERIES, "attributes"])
def test_the_digest_sees_every_change(store: DemoStore, name: str) -> None:
    episode, changed = made_episode(0, 0, steps=20), made_episode(0, 0, steps=20)
    if name == "attributes":
        changed.attributes["seed"] = 1
    elif name == "front":
        changed.images["front"][7, 5, 5, 0] ^= 1
    else:
        getattr(changed, name)[-1] += 0.5
    digests = [store.episode(store.append(e)).digest() for e in (episode, changed, episode)]
    assert digests[0] == digests[2] != digests[1]
