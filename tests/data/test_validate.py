"""Real stores broken in real ways: what is wrong is named, and what is sound is left alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
import zarr
from demos_command import refused, run, run_json
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode
from stores import cut, empty, flip, write_attributes
from zarr.codecs import Crc32cCodec, ZstdCodec

from s2robot.data.anomalies import out_of_range, runs, stuck
from s2robot.data.store import DemoStore
from s2robot.data.validate import Finding, validate

BROKEN = "000002"


@pytest.fixture
def store(toy_demos: Path, tmp_path: Path) -> DemoStore:
    """Four toy episodes, which a test may break."""
    return DemoStore.open(shutil.copytree(toy_demos, tmp_path / "demos"))


def found(store: DemoStore) -> list[str]:
    """The findings, each of the broken episode and none of another."""
    findings = validate(store)
    assert {f.episode for f in findings} <= {BROKEN}
    return [f.what for f in findings]


def rewrite(store: DemoStore, name: str, change: Callable[[np.ndarray], Any]) -> None:
    """Writes an array of the broken episode anew, in good order but for what it holds."""
    folder = store.path / BROKEN / name
    array = zarr.open_array(folder, mode="r")
    values: np.ndarray = array[:]  # type: ignore[assignment]
    values = values if (changed := change(values)) is None else changed
    chunks = (min(array.chunks[0], len(values)), *values.shape[1:])
    shutil.rmtree(folder)
    zarr.create_array(
        folder,
        data=values,
        chunks=chunks,
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )


def set_at(index: Any, value: float) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


def test_a_recorded_store_has_nothing_wrong(store: DemoStore) -> None:
    assert validate(store) == []


@pytest.mark.parametrize("harm", [cut, empty, flip, Path.unlink])
@pytest.mark.parametrize(
    "name", ["images/front", "images/wrist", "proprio", "action", "action_applied", "time"]
)
def test_a_damaged_chunk_is_named(store: DemoStore, name: str, harm: Callable[[Path], None]) -> None:
    chunk = sorted((store.path / BROKEN / name).glob("c*"))[-1]
    harm(chunk)
    (what,) = found(store)
    steps = store.episode(BROKEN).length
    assert what.startswith(f"{name}: steps ")
    assert f" to {steps - 1}: " in what
    assert what.endswith("is missing" if harm is Path.unlink else "checksum do not match")


def test_each_damaged_chunk_is_named(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=40))
    for chunk in (0, 2):
        cut(store.path / f"000000/images/front/c.{chunk}.0.0.0")
    said = [str(finding) for finding in validate(store)]
    assert [line.partition(": Stored")[0] for line in said] == [
        "000000: images/front: steps 0 to 3",
        "000000: images/front: steps 8 to 11",
    ]


@pytest.mark.parametrize("harm", [cut, empty, Path.unlink])
@pytest.mark.parametrize("name", ["", "images/", "images/front/", "action/", "time/"])
def test_damaged_metadata_is_named(store: DemoStore, name: str, harm: Callable[[Path], None]) -> None:
    harm(store.path / BROKEN / f"{name}zarr.json")
    (what,) = found(store)
    assert what.startswith(f"{name}zarr.json")
    assert ("missing" in what) == (harm is Path.unlink)


def chunks_of_nothing(file: Path) -> None:
    file.write_text(re.sub(r'("chunk_shape": \[\s*)\d+', r"\g<1>0", file.read_text()))


@pytest.mark.parametrize("name", ["action", "images/front"])
@pytest.mark.parametrize("harm", [chunks_of_nothing, lambda file: file.write_text("3")])
def test_metadata_that_describe_no_array_are_named(
    store: DemoStore, name: str, harm: Callable[[Path], None]
) -> None:
    harm(store.path / BROKEN / name / "zarr.json")
    assert any(what.startswith(f"{name}/zarr.json: ") for what in found(store)), found(store)


VALUES = {
    "nan": ("action", set_at((3, 1), np.nan), "action[3] 'dy [m]' is nan"),
    "infinite": ("proprio", set_at((0, 2), np.inf), "proprio[0] 'gripper z in base frame [m]' is inf"),
    "time goes back": ("time", set_at(4, 0.1), "time[4] is 0.1 s after 0.3"),
    "time is nan": ("time", set_at(2, np.nan), "time[2] is nan"),
    "another type": ("action", lambda a: a.astype(np.float64), "action is float64"),
    "too short": ("proprio", lambda a: a[:-1], "proprio is float32"),
    "wider": ("action_applied", lambda a: np.hstack([a, a]), "action_applied is float32"),
    "smaller frames": ("images/front", lambda a: a[:, ::2], "images/front is uint8"),
}


@pytest.mark.parametrize(("name", "change", "expected"), VALUES.values(), ids=VALUES.keys())
def test_what_breaks_the_schema_is_named(store: DemoStore, name: str, change: Any, expected: str) -> None:
    rewrite(store, name, change)
    (finding,) = validate(store)
    assert (finding.episode, finding.damaged) == (BROKEN, True)
    assert finding.what.startswith(expected)


ATTRIBUTES = {
    "no length": (lambda a: a.pop("length"), "length is None"),
    "length of text": (lambda a: a.update(length="9"), "length is '9'"),
    "action_loss_mask too short": (
        lambda a: a["action_loss_mask"].pop(),
        "action_loss_mask has not one entry a step",
    ),
    "action_loss_mask of numbers": (
        lambda a: a.update(action_loss_mask=[1] * a["length"]),
        "action_loss_mask has entries other than true and false",
    ),
    "by_person too long": (
        lambda a: a.update(by_person=[True] * (a["length"] + 1)),
        "by_person has not one entry a step",
    ),
    "seed of text": (lambda a: a.update(seed="3"), "seed is '3', expected a whole number"),
    "seed true": (lambda a: a.update(seed=True), "seed is True, expected a whole number"),
    "config of text": (lambda a: a.update(config="x"), "config is 'x', expected a section"),
    "start of a former schema": (lambda a: a.update(start=[0, 0, 0]), "a start is damaged"),
    "start without options": (lambda a: a.update(start={"place": None}), "a start is damaged ('options')"),
    "start of two numbers": (
        lambda a: a.update(start={"options": {}, "place": [0, 1]}),
        "a start is damaged",
    ),
    "success of text": (lambda a: a.update(success="yes"), "success is 'yes'"),
    "notes of a number": (lambda a: a.update(notes=3), "notes is 3, expected text"),
    "metrics in a list": (lambda a: a.update(metrics=[0.1]), "metrics is [0.1], expected a section"),
}


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """As with a text editor."""
    metadata = json.loads(file.read_text())
    change(metadata["attributes"])
    file.write_text(json.dumps(metadata))


EDITS = {
    "success": lambda a: a.update(success=not a["success"]),
    "seed": lambda a: a.update(seed=a["seed"] + 1),
    "start": lambda a: a["start"]["options"].update(cube=[0, 0, 0]),
    "config": lambda a: a["config"].update(seed=99),
    "mask renamed": lambda a: a.update(imitate=a.pop("action_loss_mask")),
    "mask dropped": lambda a: a.pop("action_loss_mask"),
    "mask flipped": lambda a: a["action_loss_mask"].__setitem__(2, not a["action_loss_mask"][2]),
}
ROOT_EDITS = {
    "rate": lambda a: a["robot_spec"].update(rate=20.0),
    "names reversed": lambda a: a["robot_spec"]["proprio"].reverse(),
    "recorded with": lambda a: a["record"].update(seed=7),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
def test_an_edit_of_an_episode_is_seen_and_not_learned_from(
    store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    edit(store.path / BROKEN / "zarr.json", change)
    code, lines = run(capsys, "validate", store.path)
    assert (code, lines[0]) == (1, f"{BROKEN}: zarr.json: its attributes were edited after they were written")
    said = toy_loop.refusal(capsys, *toy_loop.training(store.path, tmp_path / "policy"))
    assert f"episode {BROKEN} of {store.path}: zarr.json is damaged (its attributes were edited" in said
    assert "edited" in refused(capsys, "merge", store.path, f"out={tmp_path / 'merged'}")


@pytest.mark.parametrize("change", ROOT_EDITS.values(), ids=ROOT_EDITS.keys())
def test_an_edit_of_the_store_is_seen_and_not_learned_from(
    store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    edit(store.path / "zarr.json", change)
    code, lines = run(capsys, "validate", store.path)
    assert (code, lines[0]) == (1, "zarr.json: its attributes were edited after they were written")
    said = toy_loop.refusal(capsys, *toy_loop.training(store.path, tmp_path / "policy"))
    assert f"{store.path}/zarr.json is damaged" in said


def test_a_store_without_digests_is_read_and_that_said(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (store.path / "zarr.json", store.path / BROKEN / "zarr.json"):
        write_attributes(file, lambda attributes: None, digest=False)
    code, lines = run(capsys, "validate", store.path)
    assert code == 0
    assert lines[-1].endswith(
        "nothing wrong; 1 were written without a digest: edits of their attributes do not show"
    )


def test_copies_are_sealed_anew(store: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_attributes(store.path / BROKEN / "zarr.json", lambda attributes: None, digest=False)
    store.drop(store.ids()[0])
    assert run(capsys, "merge", store.path, f"out={tmp_path / 'merged'}")[0] == 0
    assert run(capsys, "split", tmp_path / "merged", f"held_out={tmp_path / 'some'}")[0] == 0
    for path in (tmp_path / "merged", tmp_path / "some"):
        code, lines = run(capsys, "validate", path)
        assert (code, lines[-1][-13:]) == (0, "nothing wrong")


@pytest.mark.parametrize(("change", "expected"), ATTRIBUTES.values(), ids=ATTRIBUTES.keys())
def test_attributes_that_break_the_schema_are_named(store: DemoStore, change: Any, expected: str) -> None:
    write_attributes(store.path / BROKEN / "zarr.json", change)
    (what,) = found(store)
    assert what.removeprefix("zarr.json: ").startswith(expected)


def test_an_array_that_the_spec_does_not_know_is_read_too(store: DemoStore) -> None:
    folder = store.path / BROKEN / "force"
    zarr.create_array(
        folder, data=np.arange(1.0, 1 + store.episode(BROKEN).length), compressors=[Crc32cCodec()]
    )
    assert validate(store) == []
    flip(next(file for file in folder.rglob("*") if file.name != "zarr.json" and file.is_file()))
    (what,) = found(store)
    assert what.startswith("force: steps 0 to ")


def test_dropped_episodes_leftovers_and_other_folders_are_no_findings(store: DemoStore) -> None:
    (store.path / BROKEN / "action/c.0.0").unlink()
    store.drop(BROKEN)
    (store.path / BROKEN / "zarr.json").unlink()
    (store.path / ".staging").mkdir(exist_ok=True)
    (store.path / "000009").mkdir()
    (store.path / "notes").mkdir()
    (store.path / "notes/readme").write_text("hello")
    assert validate(store) == []


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_a_frozen_camera_is_an_anomaly_and_no_damage(store: DemoStore, camera: str) -> None:
    def freeze(frames: np.ndarray) -> None:
        frames[:] = frames[2]

    rewrite(store, f"images/{camera}", freeze)
    (finding,) = validate(store)
    last = store.episode(BROKEN).length - 1
    assert finding.what.startswith(f"images/{camera}: the same frame from step 0 to {last}, while '")
    assert (finding.episode, finding.damaged) == (BROKEN, False)


def test_a_frame_that_stands_still_with_the_robot_is_in_order() -> None:
    proprio = np.zeros((40, 3), np.float32)
    proprio[20:, 1] = np.linspace(0, 0.3, 20)
    waits, moves = np.arange(40) < 20, np.arange(40) >= 20
    waits[0] = False
    assert list(stuck(waits, proprio, SPEC)) == []
    (what,) = stuck(moves, proprio, SPEC)
    assert what == "the same frame from step 19 to 39, while 'joint2 [rad]' moves by 0.3"


def test_a_short_repetition_is_in_order() -> None:
    proprio = np.linspace(0, 1, 30)[:, None].repeat(3, axis=1).astype(np.float32)
    same = np.zeros(30, bool)
    same[10:14] = True  # 0.4 s at 10 Hz
    assert list(stuck(same, proprio, SPEC)) == []


@given(same=st.lists(st.booleans(), min_size=1, max_size=30))
def test_runs_are_all_there_is(same: list[bool]) -> None:
    same[0] = False
    covered = {step for first, last in runs(np.array(same)) for step in range(first + 1, last + 1)}
    assert covered == {step for step, equal in enumerate(same) if equal}
    assert all(not same[first] for first, _ in runs(np.array(same)))


def test_an_action_far_from_all_others_is_an_anomaly(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for n in range(12):
        episode = made_episode(0, n, steps=20)
        episode.action[7, 1] = 40 if n == 5 else 0
        store.append(episode)
    (finding,) = validate(store)
    assert finding.what.startswith("action[7] 'gripper [m]' is 40, other episodes: -")
    assert (finding.episode, finding.damaged) == ("000005", False)


def test_an_applied_action_beyond_its_label_is_an_anomaly(store: DemoStore) -> None:
    rewrite(store, "action_applied", set_at((5, 3), 1.2))
    assert found(store) == ["action_applied[5] 'gripper [-1 open, 1 close]' is 1.2, expected -1 to 1"]


@given(st.data())
def test_actions_of_one_range_are_in_order(data: st.DataObject) -> None:
    """Whatever the actions within one range: episodes that each reach both ends of it are alike."""
    low = data.draw(st.floats(-5, 5))
    high = low + data.draw(st.floats(0, 5))
    values = st.lists(st.floats(low, high), min_size=1, max_size=5)
    episodes = data.draw(st.lists(values, min_size=10, max_size=14))
    arrays = {str(i): np.array([low, *episode, high])[:, None] for i, episode in enumerate(episodes)}
    assert list(out_of_range("action", arrays, ("a [m]",))) == []


def test_few_episodes_have_no_usual_range() -> None:
    arrays = {str(i): np.array([[0.0], [10.0**i]]) for i in range(9)}
    assert list(out_of_range("action", arrays, ("a [m]",))) == []
    assert list(out_of_range("action", {}, ("a [m]",))) == []


def test_findings_come_by_episode_whatever_was_found_first(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for n in range(3):
        store.append(made_episode(0, n, steps=20))
    (store.path / "000002/zarr.json").unlink()
    cut(store.path / "000001/time/c.0")
    (store.path / "000000/action/c.0.0").unlink()
    findings = validate(store)
    assert [f.episode for f in findings] == ["000000", "000001", "000002"]
    assert str(findings[0]) == "000000: action: steps 0 to 19: c.0.0 is missing"
    assert str(findings[2]) == "000002: zarr.json is missing: it is not listed as an episode"


# The commands


def break_two(store: DemoStore) -> None:
    """One episode that is damaged, one that only looks wrong."""
    cut(store.path / "000001/images/wrist/c.0.0.0.0")
    rewrite(store, "action_applied", set_at((5, 3), 1.2))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_validate_says_what_is_wrong_and_changes_nothing(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "validate", store.path) == (0, [f"{store.path}: 4 episodes read, nothing wrong"])
    break_two(store)
    before = contents(store.path)
    code, lines = run(capsys, "validate", store.path)
    assert code == 1
    assert [line.split(":")[0] for line in lines[:-1]] == ["000001", "000002"]
    assert "1 damaged" in lines[-1]
    assert "1 with anomalies" in lines[-1]
    assert contents(store.path) == before


def test_validate_speaks_json(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    break_two(store)
    code, said = run_json(capsys, "validate", store.path)
    assert (code, said["episodes"]) == (1, 4)
    assert [Finding(**f) for f in said["findings"]] == validate(store)


def test_repair_moves_what_is_damaged_aside_and_touches_nothing_else(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    break_two(store)
    (store.path / "000003/zarr.json").unlink()
    before = contents(store.path)
    code, lines = run(capsys, "repair", store.path)
    assert (code, store.ids()) == (0, ["000000", "000002"])
    assert lines[0] == "000001: moved to .broken/000001"
    assert "000002: action_applied[5]" in lines[2], "what only looks wrong stays, and is said"
    after = contents(store.path)
    notes = {name: after.pop(f".broken/{name}.txt").decode() for name in ("000001", "000003")}
    moved = {name.removeprefix(".broken/"): content for name, content in after.items()}
    assert moved == before, "every byte is still there"
    assert notes["000001"].startswith("000001: images/wrist: steps 0 to ")
    assert "zarr.json is missing" in notes["000003"]
    assert [f.episode for f in validate(store)] == ["000002"]
    assert run(capsys, "repair", store.path, "anomalies=true")[0] == 0
    assert validate(store) == []
    assert store.ids() == ["000000"]


def test_a_place_among_the_broken_that_is_taken_is_not_overwritten(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        cut(store.path / "000001/time/c.0")
        first = contents(store.path / "000001")
        run(capsys, "repair", store.path)
        shutil.copytree(store.path / "000000", store.path / "000001")
    assert store.ids() == ["000000", "000001", "000002", "000003"]
    assert contents(store.path / ".broken/000001-1") == first
    assert len(list((store.path / ".broken").iterdir())) == 4, "two episodes and what was found of each"


def test_a_number_that_repair_freed_is_recorded_again(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(store.path / "000001/time/c.0")
    run(capsys, "repair", store.path)
    toy_loop.record(store.path)
    assert store.ids() == ["000000", "000001", "000002", "000003"]
    assert validate(store) == []
