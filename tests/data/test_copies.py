"""Episodes rearranged: copies to the last byte, each with its provenance, and nothing half done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demos_command import refused, run
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode
from mistakes import refusal
from processes import ended_tag
from test_store import assert_holds, snapshot

from s2robot.core.spec import RobotSpec
from s2robot.data import copies
from s2robot.data.store import DemoStore
from s2robot.data.validate import validate


def made_store(path: Path, seed: int, episodes: int, attributes: dict[str, Any] | None = None) -> DemoStore:
    store = DemoStore.create(path, SPEC, attributes)
    for n in range(episodes):
        store.append(made_episode(seed, n, steps=20))
    return store


@pytest.fixture
def two(tmp_path: Path) -> tuple[DemoStore, DemoStore]:
    """Stores of 2 and of 3 episodes, of which one is dropped."""
    first = made_store(tmp_path / "first", 0, 2, {"record": {"env": {"rate": 10}, "seed": 0}})
    second = made_store(tmp_path / "second", 1, 3, {"record": {"env": {"rate": 10}, "seed": 1}})
    second.drop("000001")
    return first, second


def test_merged_episodes_are_the_same_to_the_last_bit_and_say_where_they_come_from(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [snapshot(store.path) for store in two]
    code, lines = run(capsys, "merge", two[0].path, two[1].path, f"out={tmp_path / 'sub/all'}")
    assert (code, lines) == (0, [f"{tmp_path / 'sub/all'}: 4 episodes of 2 stores"])
    merged = DemoStore.open(tmp_path / "sub/all")
    assert merged.ids() == ["000000", "000001", "000002", "000003"]
    assert validate(merged) == []
    origins = [(store, i) for store in two for i in store.ids()]
    for episode_id, (store, source_id) in zip(merged.ids(), origins, strict=True):
        reader, source = merged.episode(episode_id), store.episode(source_id)
        came = {"store": str(store), "id": source_id, "sha256": source.digest()}
        made = made_episode(source.attributes["seed"], source.attributes["n"], steps=20)
        made.attributes["sources"] = [came]
        assert_holds(reader, made)
    assert [snapshot(store.path) for store in two] == before
    assert sorted(p.name for p in (tmp_path / "sub").iterdir()) == ["all"], "no trace of the staging"


@pytest.mark.parametrize("qualities", [(90, 90), (90, 40), (90, None)])
def test_lossy_frames_are_copied_as_they_are(tmp_path: Path, qualities: tuple[int | None, ...]) -> None:
    asked = [{"image_codec": {"name": "jpeg", "quality": q}} if q else {} for q in qualities]
    stores = [made_store(tmp_path / str(n), n, 1, attributes) for n, attributes in enumerate(asked)]
    merged = copies.merge(stores, tmp_path / "all")
    for store, episode in zip(stores, merged.episodes(), strict=True):
        source = store.episode("000000")
        for camera in SPEC.cameras:
            np.testing.assert_array_equal(episode.images(camera), source.images(camera))
        assert episode.attributes.get("image_error") == source.attributes.get("image_error")
    assert [f for f in validate(merged) if f.damaged] == []
    codec = asked[0]["image_codec"] if asked[0] == asked[1] else None
    assert merged.attributes.get("image_codec") == codec


def test_a_merged_store_keeps_of_its_recording_what_all_agree_on(
    two: tuple[DemoStore, DemoStore], tmp_path: Path
) -> None:
    merged = copies.merge(two, tmp_path / "all")
    assert merged.attributes["record"] == {"env": {"rate": 10}}
    assert merged.attributes["merged_from"] == [str(store) for store in two]
    plain = made_store(tmp_path / "plain", 2, 1)
    assert "record" not in copies.merge([two[0], plain], tmp_path / "more").attributes


def test_provenance_grows_with_each_copy(two: tuple[DemoStore, DemoStore], tmp_path: Path) -> None:
    once = copies.merge(two, tmp_path / "once")
    twice = copies.merge([once], tmp_path / "twice")
    sources = twice.episode("000002").attributes["sources"]
    assert [(s["store"], s["id"]) for s in sources] == [(str(two[1]), "000000"), (str(once), "000002")]


def test_stores_of_different_robots_are_not_merged(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RobotSpec(SPEC.cameras, SPEC.proprio, SPEC.action, SPEC.action_space, rate=20.0)
    DemoStore.create(tmp_path / "other", other)
    message = refused(capsys, "merge", two[0].path, tmp_path / "other", f"out={tmp_path / 'all'}")
    assert message.endswith("hold demos of different robots: rate: 10.0 against 20.0")
    assert not (tmp_path / "all").exists()


def test_a_damaged_episode_stops_a_merge_and_nothing_is_left_of_it(
    two: tuple[DemoStore, DemoStore], tmp_path: Path
) -> None:
    chunk = two[1].path / "000002/images/front/c.1.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    message = refusal(lambda: copies.merge(two, tmp_path / "all"))
    assert f"episode 000002 of {two[1]} is damaged (images/front: steps 4 to 7: " in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second"]


def test_what_is_there_is_never_written_into(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("all of it")
    before = snapshot(tmp_path)
    for out in ("first", "taken"):
        refused(capsys, "merge", two[0].path, two[1].path, f"out={tmp_path / out}")
        refused(capsys, "split", two[1].path, f"held_out={tmp_path / 'new'}", f"rest={tmp_path / out}")
    assert snapshot(tmp_path) == before


def test_empty_stores_and_no_stores_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_store(tmp_path / "empty", 0, 0)
    assert "holds no demos" in refused(capsys, "merge", tmp_path / "empty", f"out={tmp_path / 'all'}")
    assert "no store is named" in refused(capsys, "merge", f"out={tmp_path / 'all'}")


def test_a_split_parts_a_store_without_changing_it(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = two[0]
    before = snapshot(store.path)
    parts = [tmp_path / name for name in ("held_out", "rest")]
    code, lines = run(capsys, "split", store.path, f"held_out={parts[0]}", f"rest={parts[1]}", "share=0.5")
    assert (code, lines[0]) == (0, f"{parts[0]}: 1 of the 2 episodes of {store}")
    held_out, rest = map(DemoStore.open, parts)
    assert sorted([*held_out.ids(), *rest.ids()]) == store.ids()
    for part in (held_out, rest):
        assert validate(part) == []
        assert part.attributes["record"] == store.attributes["record"]
        for i in part.ids():
            assert part.episode(i).attributes["n"] == store.episode(i).attributes["n"]
            assert part.episode(i).attributes["sources"][0]["id"] == i
    assert snapshot(store.path) == before


def test_a_split_takes_the_ids_that_are_named(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("split", two[1].path, f"held_out={tmp_path / 'part'}")
    assert "unknown episode '000009'" in refused(capsys, *arguments, "ids=[000000,000009]")
    assert "was dropped" in refused(capsys, *arguments, "ids=[000001]")
    assert "named twice" in refused(capsys, *arguments, "ids=[000002,000002]")
    assert run(capsys, *arguments, "ids=[000002]")[0] == 0
    assert DemoStore.open(tmp_path / "part").ids() == ["000002"]


def test_parts_that_are_one_or_inside_each_other_are_refused(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("split", two[0].path, f"held_out={tmp_path / 'part'}")
    for rest in (tmp_path / "." / "part", tmp_path / "part" / "rest"):
        assert "expected another folder than held_out" in refused(capsys, *arguments, f"rest={rest}")
    assert "lies inside the demo store" in refused(capsys, "split", two[0].path, f"held_out={two[0].path}/h")
    assert "seed=-1: expected 0 or more" in refused(capsys, *arguments, "seed=-1")
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_leaves_nothing_is_refused(
    two: tuple[DemoStore, DemoStore], tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    arguments = ("split", two[0].path, f"held_out={tmp_path / 'part'}", f"share={share}")
    assert f"share={share}" in refused(capsys, *arguments)


@given(count=st.integers(2, 200), share=st.floats(0.001, 0.999), seed=st.integers(0, 5))
def test_a_share_is_chosen_once_and_for_all(count: int, share: float, seed: int) -> None:
    ids = [f"{n:06d}" for n in range(count)]
    chosen = copies.choose(ids, share, seed)
    assert chosen == copies.choose(ids, share, seed) == sorted(set(chosen))
    assert set(chosen) < set(ids)
    assert len(chosen) == np.clip(round(share * count), 1, count - 1)


def test_another_seed_chooses_others() -> None:
    ids = [f"{n:06d}" for n in range(100)]
    assert copies.choose(ids, 0.3, 0) != copies.choose(ids, 0.3, 1)


def test_drop_hides_all_that_are_named_or_none(
    two: tuple[DemoStore, DemoStore], capsys: pytest.CaptureFixture[str]
) -> None:
    store = two[0]
    assert "unknown episode '7'" in refused(capsys, "drop", store.path, "000000", "7")
    assert "no episode is named" in refused(capsys, "drop", store.path)
    assert store.ids() == ["000000", "000001"]
    code, lines = run(capsys, "drop", store.path, "000000", "000001")
    assert (code, store.ids()) == (0, [])
    assert lines == [f"{store}: 2 episodes dropped, 0 are left; their files are still there"]
    assert (store.path / "000000/zarr.json").is_file()


def test_a_merge_that_was_killed_is_cleaned_by_the_next(
    two: tuple[DemoStore, DemoStore], tmp_path: Path
) -> None:
    dead = tmp_path / ".staging" / f"all-{ended_tag()}"
    shutil.copytree(two[0].path, dead)
    copies.merge(two, tmp_path / "all")
    assert not (tmp_path / ".staging").exists()
