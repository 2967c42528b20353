"""LeRobotDataset v2.1 and v3.0, read and written without lerobot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import toy_loop
from kill_writer import SPEC, made_episode
from lerobot_recording import Recording, recording
from stores import cut

from s2robot.data.store import DemoStore

VERSIONS = ("v2.1", "v3.0")


def imported(source: Path, *options: str) -> DemoStore:
    out = source.with_name(f"{source.name}-demos")
    assert toy_loop.s2robot("import", "format=lerobot", f"demos={source}", f"out={out}", *options) == 0
    return DemoStore.open(out)


def refused(capsys: pytest.CaptureFixture[str], source: Path, *options: str) -> str:
    out = source.with_name("refused")
    said = toy_loop.refusal(capsys, "import", "format=lerobot", f"demos={source}", f"out={out}", *options)
    assert not out.exists()
    return said


@pytest.mark.parametrize("frames", ["image", "video"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_recording_is_read_as_it_was_made(tmp_path: Path, version: str, frames: str) -> None:
    made = recording(frames)
    store = imported(made.write(tmp_path / "set", version))
    assert store.spec.rate == 10
    assert store.spec.proprio == tuple(f"joint{i}.pos" for i in range(6))
    assert store.spec.action == ("dx", "dy", "gripper")
    assert list(store.spec.cameras) == ["top", "wrist.left"]
    assert store.attributes["lerobot"] == {"codebase_version": version, "robot_type": "so101"}
    for n, (reader, episode) in enumerate(zip(store.episodes(), made.episodes, strict=True)):
        np.testing.assert_array_equal(reader.proprio, episode["observation.state"])
        np.testing.assert_array_equal(reader.action, episode["action"])
        np.testing.assert_array_equal(reader.action_applied, episode["action"])
        np.testing.assert_allclose(reader.time, np.arange(reader.length) / 10)
        np.testing.assert_array_equal(reader.images("wrist.left"), episode["observation.images.wrist.left"])
        difference = np.abs(reader.images("top").astype(int) - episode["observation.images.top"])
        assert difference.mean() < (5 if frames == "video" else 1e-9), (
            "another step's frame differs by some 80"
        )
        assert reader.attributes["instruction"] == ("lift the cube", "push the cube")[n % 2]
        assert reader.attributes["success"] is (n != 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_columns_of_any_features_side_by_side(tmp_path: Path, version: str) -> None:
    made = recording()
    mapping = (
        "proprio=[observation.effort,observation.state[:2],observation.state[-1]]",
        "action=[action[2]]",
    )
    store = imported(made.write(tmp_path / "set", version), *mapping, "cameras={front: wrist.left}")
    assert store.spec.proprio == ("effort[0]", "effort[1]", "joint0.pos", "joint1.pos", "joint5.pos")
    assert store.spec.action == ("gripper",)
    assert list(store.spec.cameras) == ["front"]
    reader, episode = store.episodes()[1], made.episodes[1]
    state = episode["observation.state"]
    expected = np.concatenate([episode["observation.effort"], state[:, :2], state[:, 5:]], 1)
    np.testing.assert_array_equal(reader.proprio, expected.astype(np.float32))
    np.testing.assert_array_equal(reader.action, episode["action"][:, 2:])
    np.testing.assert_array_equal(reader.images("front"), episode["observation.images.wrist.left"])


def renamed(made: Recording, names: dict[str, str]) -> Recording:
    def under(things: dict[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): thing for name, thing in things.items()}

    return Recording(under(made.features), [under(episode) for episode in made.episodes])


def test_names_as_openpi_gives_them(tmp_path: Path) -> None:
    names = {"observation.state": "state", "action": "actions", "observation.images.top": "image"}
    made = renamed(recording(), names)
    store = imported(made.write(tmp_path / "set", "v2.1"))
    assert list(store.spec.cameras) == ["image", "wrist.left"]
    np.testing.assert_array_equal(store.episodes()[0].action, made.episodes[0]["actions"])


def test_grey_rgba_and_channels_first_become_rgb_and_depth_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recording(lengths=(3,))
    episode, height_width = made.episodes[0], (32, 48)
    grey = np.random.default_rng(1).integers(0, 256, (3, *height_width), dtype=np.uint8)
    rgba = np.random.default_rng(2).integers(0, 256, (3, *height_width, 4), dtype=np.uint8)
    made.features["grey"] = {"dtype": "image", "shape": [*height_width, 1], "names": None}
    made.features["rgba"] = {"dtype": "image", "shape": [4, *height_width], "names": ["channels", "h", "w"]}
    made.features["depth"] = {"dtype": "image", "shape": [*height_width, 1], "names": None}
    made.features["far"] = {"dtype": "video", "shape": [*height_width, 3], "info": {"is_depth_map": True}}
    episode |= {"grey": grey, "rgba": rgba, "depth": grey, "far": np.repeat(grey[..., None], 3, -1)}
    store = imported(made.write(tmp_path / "set", "v3.0"))
    assert set(store.spec.cameras) == {"top", "wrist.left", "grey", "rgba"}
    reader = store.episodes()[0]
    np.testing.assert_array_equal(reader.images("grey"), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(reader.images("rgba"), rgba[..., :3])
    said = capsys.readouterr().out
    for line in (
        "lost: depth, depth [32, 48, 1]",
        "lost: far, depth [32, 48, 3]",
        "lost: frames of grey: grey",
    ):
        assert line in said


def test_a_state_under_another_name_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = renamed(recording(), {"observation.state": "joints"})
    source = made.write(tmp_path / "set", "v3.0")
    said = refused(capsys, source)
    assert "has no observation.state or state: give proprio=[...]" in said
    assert "joints, observation.effort, action" in said
    said = refused(capsys, source, "proprio=[joint]")
    assert "unknown array for proprio 'joint': did you mean 'joints'?" in said
    assert "it has 6 columns" in refused(capsys, source, "proprio=[joints[9]]")


def test_broken_episodes_are_set_aside_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = recording("video", lengths=(4, 5, 4, 4, 4, 5))
    made.episodes[2]["action"][1, 2] = np.nan
    source = made.write(tmp_path / "set", "v2.1")
    cut(source / "data/chunk-000/episode_000000.parquet")
    (source / "data/chunk-000/episode_000001.parquet").unlink()
    films = source / "videos/chunk-000/observation.images.top"
    (films / "episode_000003.mp4").unlink()
    films.joinpath("episode_000005.mp4").write_bytes(films.joinpath("episode_000004.mp4").read_bytes())
    store = imported(source)
    assert len(store) == 1
    np.testing.assert_array_equal(store.episodes()[0].action, made.episodes[4]["action"])
    said = capsys.readouterr().out
    assert "set aside: episode 0: cannot read data/chunk-000/episode_000000.parquet" in said
    assert "set aside: episode 1: data/chunk-000/episode_000001.parquet is missing" in said
    assert "set aside: episode 2: action[1] 'gripper' is nan" in said
    assert (
        "set aside: episode 3: videos/chunk-000/observation.images.top/episode_000003.mp4 is missing" in said
    )
    assert "episode_000005.mp4: no frame at 0.400 s (step 4): the nearest frame is at 0.300 s" in said
    assert "episode 0: cannot read" in refused(capsys, source, "strict=true")


def test_frames_that_an_episode_lacks_are_not_taken_from_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recording("video", lengths=(5, 5)).write(tmp_path / "set", "v3.0")
    path = source / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["videos/observation.images.top/to_timestamp"] = 0.3
    pq.write_table(type(table).from_pylist(rows), path)
    assert len(imported(source)) == 1
    assert "episode 0: videos/observation.images.top" in capsys.readouterr().out


def test_other_versions_and_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no LeRobotDataset: it has no meta/info.json" in refused(capsys, tmp_path)
    source = recording(lengths=(3,)).write(tmp_path / "set", "v3.0")
    path = source / "meta" / "info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    assert "a LeRobotDataset of version v1.6: v2.0, v2.1, v3.0 can be read" in refused(capsys, source)
    path.write_text(json.dumps(info | {"data_path": "../{chunk_index}{file_index}"}))
    assert "leads out of the dataset" in refused(capsys, source)
    path.write_text("{")
    assert "meta/info.json is no JSON" in refused(capsys, source)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    store = DemoStore.create(tmp_path_factory.mktemp("lerobot") / "demos", SPEC)
    for n, steps in enumerate((6, 9)):
        episode = made_episode(0, n, steps=steps)
        episode.attributes |= {"instruction": f"task {n}"}
        store.append(episode, f"{3 * n:06d}")
    return store


@pytest.mark.parametrize("images", ["image", "video"])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_export_comes_back(demos: DemoStore, tmp_path: Path, version: str, images: str) -> None:
    out = tmp_path / "set"
    options = ("format=lerobot", f"version={version}", f"images={images}")
    assert toy_loop.s2robot("export", *options, f"demos={demos.path}", f"out={out}") == 0
    back = imported(out)
    assert back.spec == demos.spec
    for episode_id in demos.ids():
        one, other = demos.episode(episode_id), back.episode(episode_id)
        assert one.attributes == other.attributes
        for name in ("proprio", "action", "action_applied", "time"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        if images == "image":
            assert one.digest() == other.digest()


def test_statistics_are_those_of_the_data(demos: DemoStore, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert toy_loop.s2robot("export", "format=lerobot", f"demos={demos.path}", f"out={out}") == 0
    stats = json.loads((out / "meta/stats.json").read_text())
    action = np.concatenate([episode.action for episode in demos.episodes()])
    frames = np.concatenate([episode.images("front") for episode in demos.episodes()]) / 255
    np.testing.assert_allclose(stats["action"]["std"], action.astype(float).std(0))
    np.testing.assert_allclose(stats["action"]["q90"], np.quantile(action.astype(float), 0.9, axis=0))
    front = stats["observation.images.front"]
    assert front["count"] == [15]
    for name, value in (("mean", frames.mean((0, 1, 2))), ("std", frames.std((0, 1, 2)))):
        np.testing.assert_allclose(np.array(front[name])[:, 0, 0], value)
    assert np.array(front["min"]).shape == (3, 1, 1)


def test_a_slash_in_a_cameras_name_is_written_as_a_dot(tmp_path: Path) -> None:
    from dataclasses import replace

    spec = replace(SPEC, cameras={"wrist/left": (16, 16, 3)})
    store = DemoStore.create(tmp_path / "demos", spec)
    store.append(made_episode(0, 0, spec, steps=3))
    out = tmp_path / "set"
    assert toy_loop.s2robot("export", "format=lerobot", f"demos={store.path}", f"out={out}") == 0
    assert "observation.images.wrist.left" in json.loads((out / "meta/info.json").read_text())["features"]
    assert imported(out).spec == spec
