"""Lists and statistics of a store, as a person and as a program reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from demos_command import refused, run, run_json
from kill_writer import SPEC, made_episode

from s2robot.data.store import DemoStore
from s2robot.data.tools.stats import entries, measured_rate, spread
from s2robot.data.tools.table import table


@pytest.fixture
def store(tmp_path: Path) -> DemoStore:
    """Three episodes of 10, 20 and 30 steps."""
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for n in range(3):
        episode = made_episode(0, n, steps=10 * (n + 1))
        episode.time = np.arange(episode.length) / 8
        episode.attributes |= {"action_loss_mask": [n != 1] * episode.length}
        store.append(episode)
    return store


def test_a_list_has_a_line_an_episode_and_one_for_the_store(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run(capsys, "list", store.path)
    assert code == 0
    assert [line.split() for line in lines[:-1]] == [
        ["episode", "steps", "seconds", "success", "seed", "notes"],
        ["000000", "10", "1.0", "no", "0", "-"],
        ["000001", "20", "2.0", "yes", "0", "recovery"],
        ["000002", "30", "3.0", "no", "0", "-"],
    ]
    assert lines[-1] == (
        f"{store.path}: 3 episodes; 60 steps (6 s at 10 Hz); 2 of them failed; "
        "ee_delta, cameras front 24x32, wrist 16x16"
    )


def test_a_list_shows_what_is_known_of_the_episodes(
    toy_demos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run_json(capsys, "list", toy_demos)
    toy = DemoStore.open(toy_demos)
    assert (code, said["robot_spec"]) == (0, toy.spec.to_dict())
    assert [e["id"] for e in said["episodes"]] == toy.ids()
    for episode in said["episodes"]:
        attributes = toy.episode(episode["id"]).attributes
        assert (episode["steps"], episode["seconds"]) == (attributes["length"], attributes["length"] / 10)
        assert all(episode[key] == attributes[key] for key in ("success", "seed", "start"))
    pose = said["episodes"][0]["start"]["place"]
    assert f"{pose[0]:+.3f} {pose[1]:+.3f} {pose[2]:+.3f}" in run(capsys, "list", toy_demos)[1][1]


def test_a_list_says_how_much_of_an_intervention_is_a_persons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    episode = made_episode(0, 0, steps=5)
    by_person = [False, False, True, True, False]
    episode.attributes |= {
        "action_loss_mask": by_person,
        "by_person": by_person,
        "policy": {"checkpoint": "runs/x"},
    }
    store.append(episode)
    assert "2 of 5 steps by a person" in run(capsys, "list", store.path)[1][1]
    assert "by_person" not in run_json(capsys, "list", store.path)[1]["episodes"][0]


def test_neither_frames_nor_other_arrays_are_read_for_a_list(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = run(capsys, "list", store.path)
    for episode_id in store.ids():
        for array in ("images", "proprio", "action", "action_applied", "time"):
            shutil.rmtree(store.path / episode_id / array)
    assert run(capsys, "list", store.path) == listed


def test_dropped_broken_and_damaged_episodes_are_counted(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.drop("000000")
    (store.path / "000001/time/c.0").unlink()
    run(capsys, "repair", store.path)
    (store.path / "000002/zarr.json").write_text("{")
    code, lines = run(capsys, "list", store.path)
    assert code == 0
    assert "damaged: zarr.json: Expecting property name" in lines[1]
    assert "1 of them damaged (see `s2robot demos validate`); 1 dropped; 1 moved aside" in lines[-1]
    said = run_json(capsys, "list", store.path)[1]
    assert (said["dropped"], said["broken"]) == (["000000"], ["000001"])
    assert "Expecting property name" in said["episodes"][0]["damaged"]


def test_an_empty_store_is_listed_and_has_no_statistics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DemoStore.create(tmp_path / "demos", SPEC)
    assert run(capsys, "list", tmp_path / "demos")[1][0].startswith(f"{tmp_path / 'demos'}: 0 episodes; ")
    assert "holds no demos" in refused(capsys, "stats", tmp_path / "demos")


def test_statistics_are_those_of_the_arrays(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run_json(capsys, "stats", store.path)
    assert (code, said["episodes"], said["steps"], said["successes"]) == (0, 3, 60, 1)
    assert said["seconds"] == pytest.approx((9 + 19 + 29) / 8)
    assert (said["length"]["min"], said["length"]["median"], said["length"]["max"]) == (10, 20, 30)
    assert said["rate"]["mean"] == pytest.approx(8)
    assert said["longest_step"]["max"] == pytest.approx(1 / 8)
    action = np.concatenate([store.episode(i).action for i in store.ids()]).astype(np.float64)
    grip = said["action"]["gripper [m]"]
    assert grip["mean"] == pytest.approx(action[:, 1].mean())
    assert grip["std"] == pytest.approx(action[:, 1].std())
    assert (grip["min"], grip["max"]) == (action[:, 1].min(), action[:, 1].max())
    assert list(said["proprio"]) == list(SPEC.proprio)


def test_statistics_do_not_count_an_unknown_outcome_as_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for outcome, said in [(None, "success unknown"), (True, "1 successes (1 unknown)")]:
        episode = made_episode(0, 0, steps=10)
        del episode.attributes["success"]
        episode.attributes |= {} if outcome is None else {"success": outcome}
        store.append(episode)
        count = len(store.ids())
        lines = run(capsys, "stats", store.path)[1]
        assert lines[0].startswith(f"{store.path}: {count} episodes, {said}, ")


def test_sizes_are_those_on_disk(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_json(capsys, "stats", store.path)[1]["bytes"]
    folders = [store.path / i for i in store.ids()]
    on_disk = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    frames = sum(f.stat().st_size for folder in folders for f in folder.glob("images/front/c.*"))
    assert sum(said.values()) == on_disk
    assert said["images/front"] == frames


def test_statistics_are_tables(store: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, "stats", store.path)
    assert code == 0
    assert lines[0].startswith(f"{store.path}: 3 episodes, 1 successes, 60 steps in 7 s, ")
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["length"][2:] == ["20", "8.165", "10", "10.2", "20", "29.8", "30"]
    frames = sum(f.stat().st_size for f in store.path.glob("*/images/front/c.*"))
    assert rows["images/front"][1:] == [f"{frames / 1e6:.2f}", f"{frames / 60 / 1e3:.2f}"]


def test_an_episode_of_one_step_has_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=1))
    code, said = run_json(capsys, "stats", store.path)
    assert (code, said["rate"], said["longest_step"]) == (0, None, None)
    assert run(capsys, "stats", store.path)[0] == 0


def test_a_rate_needs_time_that_passes() -> None:
    assert measured_rate(np.array([0.0, 0.1, 0.2])) == pytest.approx(10)
    assert measured_rate(np.array([3.0])) is None
    assert measured_rate(np.array([3.0, 3.0])) is None


def test_float32_sums_do_not_lose_digits() -> None:
    steps = np.full((200_000, 1), 0.1, np.float32)
    found = entries([steps], ["a"])["a"]
    assert found is not None
    assert found["mean"] == pytest.approx(float(np.float32(0.1)), rel=1e-9)
    assert spread([]) is None


def test_columns_are_as_wide_as_their_cells_and_numbers_stand_to_the_right() -> None:
    text = table(["name", "n"], [["a", "5"], ["long name", "1,000"]])
    assert text.splitlines() == ["name           n", "a              5", "long name  1,000"]
