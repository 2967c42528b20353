"""Demos in the formats of others: what returns is what went, and what does not is said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import toy_loop
import zarr
from kill_writer import SPEC, made_episode
from mistakes import refusal
from processes import ended_tag
from replay_buffers import foreign

from s2robot.config.options import Positive
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.formats import FORMATS
from s2robot.data.formats.target import new_path
from s2robot.data.formats.transfer import Incoming, IncomingEpisode, Notes, nominal_time
from s2robot.data.store import DemoStore, Episode
from s2robot.utils.processes import temporary_tag
from s2robot.utils.video import read_mp4

LENGTHS = (20, 1, 37)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    """Three episodes of noise, one of them of a single step, with gaps in their numbers."""
    store = DemoStore.create(tmp_path_factory.mktemp("formats") / "demos", SPEC, {"record": {"env": "made"}})
    for n, steps in enumerate(LENGTHS):
        episode = made_episode(0, n, steps=steps)
        episode.attributes |= {"action_loss_mask": [True] * (steps - 1) + [n != 2]}
        store.append(episode, f"{2 * n:06d}")
    return store


def export(store: DemoStore, out: Path, *options: str, form: str = "diffusion_policy") -> Path:
    assert toy_loop.s2robot("export", f"format={form}", f"demos={store.path}", f"out={out}", *options) == 0
    return out


def imported(source: Path, out: Path, *options: str, form: str = "diffusion_policy") -> DemoStore:
    assert toy_loop.s2robot("import", f"format={form}", f"demos={source}", f"out={out}", *options) == 0
    return DemoStore.open(out)


def import_refusal(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *options: str) -> str:
    """The line with which an import ends that must leave nothing behind."""
    arguments = ("import", "format=diffusion_policy", f"demos={source}", f"out={out}", *options)
    before = sorted(out.parent.iterdir())
    message = toy_loop.refusal(capsys, *arguments)
    assert sorted(out.parent.iterdir()) == before
    return message


def contents(store: DemoStore) -> dict[str, str]:
    """What every episode holds to the last bit, attributes included."""
    return {episode_id: store.episode(episode_id).digest() for episode_id in store.ids()}


# Diffusion Policy, there and back


@pytest.mark.parametrize("name", ["demos.zarr", "demos.zarr.zip"])
@pytest.mark.parametrize("chunk", [1, 16])
def test_what_comes_back_is_what_went_to_the_last_bit(
    demos: DemoStore, tmp_path: Path, name: str, chunk: int
) -> None:
    source = export(demos, tmp_path / name, f"frames_per_chunk={chunk}")
    store = imported(source, tmp_path / "back")
    assert contents(store) == contents(demos)
    assert store.spec == demos.spec
    assert store.attributes["record"] == {"env": "made"}
    assert name in store.attributes["imported"]


def test_the_layout_is_that_of_a_replay_buffer(demos: DemoStore, tmp_path: Path) -> None:
    root: Any = zarr.open_group(export(demos, tmp_path / "out.zarr"), mode="r", zarr_format=2)
    np.testing.assert_array_equal(root["meta/episode_ends"][:], np.cumsum(LENGTHS))
    assert root["meta/episode_ends"].dtype == np.int64
    assert root["data/front"].chunks == (1, 24, 32, 3)
    assert all(array.shape[0] == sum(LENGTHS) for _, array in root["data"].arrays())
    np.testing.assert_array_equal(root["data/action"][20:21], demos.episode("000002").action)
    np.testing.assert_array_equal(root["data/wrist"][21:], demos.episode("000004").images("wrist"))


def test_cameras_and_episodes_can_be_chosen(demos: DemoStore, tmp_path: Path) -> None:
    out = export(demos, tmp_path / "out.zarr", "cameras=[wrist]", "episodes=['000004']")
    store = imported(out, tmp_path / "back")
    assert (store.ids(), list(store.spec.cameras)) == (["000004"], ["wrist"])
    np.testing.assert_array_equal(store.episode("000004").action, demos.episode("000004").action)


def test_the_summary_says_what_others_will_not_know(
    demos: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(demos, tmp_path / "out.zarr")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{tmp_path / 'out.zarr'}: 3 demos, 58 steps, ")
    assert [line for line in said if "lost" in line] == [
        "  lost: `action_loss_mask`: others learn 1 steps of 1 episodes that are masked here"
    ]
    export(demos, tmp_path / "first.zarr", "episodes=['000000']")
    assert "  lost: nothing" in capsys.readouterr().out.splitlines()


def test_zeros_and_black_frames_come_back(tmp_path: Path) -> None:
    """zarr leaves out the files of chunks of zeros, unless asked not to: a missing file is a loss."""
    store = DemoStore.create(tmp_path / "demos", SPEC)
    episode = made_episode(0, 0, steps=5)
    episode.action[:], episode.images["front"][2] = 0, 0
    store.append(episode)
    assert contents(imported(export(store, tmp_path / "out.zarr"), tmp_path / "back")) == contents(store)


def test_episodes_that_others_appended_come_along(demos: DemoStore, tmp_path: Path) -> None:
    """ReplayBuffer.add_episode makes the arrays longer and adds an end."""
    source = export(demos, tmp_path / "out.zarr")
    root: Any = zarr.open_group(source, mode="r+", zarr_format=2)
    for _, array in root["data"].arrays():
        array.append(array[:5])
    root["meta/episode_ends"].append(np.array([sum(LENGTHS) + 5]))
    store = imported(source, tmp_path / "back")
    assert store.ids() == ["000000", "000001", "000002", "000003"]
    np.testing.assert_array_equal(store.episode("000003").action, demos.episode("000000").action[:5])
    assert store.spec == demos.spec


# Files by others


def pusht(path: Path, ends: tuple[int, ...] = (4, 9)) -> tuple[Path, dict[str, np.ndarray]]:
    """In the manner of PushT's data: frames as floats, states in double precision."""
    rng = np.random.default_rng(0)
    steps = ends[-1]
    arrays = {
        "img": rng.integers(0, 256, (steps, 8, 10, 3)).astype(np.float32),
        "state": rng.standard_normal((steps, 2)),
        "n_contacts": rng.integers(0, 5, (steps, 1)).astype(np.float32),
        "keypoint": rng.standard_normal((steps, 9, 2)).astype(np.float32),
        "action": rng.standard_normal((steps, 3)).astype(np.float32),
    }
    return foreign(path, list(ends), **arrays), arrays


def test_a_file_of_diffusion_policy_becomes_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, arrays = pusht(tmp_path / "pusht.zarr")
    store = imported(source, tmp_path / "store", "rate=10")
    second = store.episode("000001")
    assert second.length == 5
    np.testing.assert_array_equal(second.images("img"), arrays["img"][4:])
    np.testing.assert_array_equal(second.action, arrays["action"][4:])
    state = np.hstack([arrays["n_contacts"], arrays["state"]]).astype(np.float32)
    np.testing.assert_array_equal(second.proprio, state[4:])
    np.testing.assert_array_equal(second.action_applied, second.action)
    np.testing.assert_allclose(second.time, [0, 0.1, 0.2, 0.3, 0.4])
    assert store.spec.proprio == ("n_contacts[0]", "state[0]", "state[1]")
    assert store.spec.cameras == {"img": (8, 10, 3)}
    said = capsys.readouterr().out
    for loss in ("keypoint (9, 9, 2)", "measured times", "action_applied", "proprio: float64 rounded"):
        assert f"  lost: {loss}" in said or f"  lost: data/{loss}" in said


def test_times_and_proprio_of_others_can_be_chosen(tmp_path: Path) -> None:
    arrays = {"robot_eef_pose": np.ones((3, 6)), "robot_joint": np.zeros((3, 7)), "action": np.ones((3, 2))}
    source = foreign(tmp_path / "real.zarr", [3], **arrays, timestamp=np.array([5.0, 5.5, 7.0]))
    store = imported(source, tmp_path / "store", "rate=2", "proprio=[robot_joint]")
    np.testing.assert_array_equal(store.episode("000000").time, [5.0, 5.5, 7.0])
    assert store.spec.proprio == tuple(f"robot_joint[{i}]" for i in range(7))


def test_a_file_of_umi_is_read_with_its_codec_and_its_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zip, frames in JPEG XL, no array for the action: its sampler makes it of the poses."""
    codecs = pytest.importorskip("imagecodecs.numcodecs")
    codecs.register_codecs(verbose=False)
    frames = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    poses = {
        "robot0_gripper_width": np.full((4, 1), 0.05),
        "robot0_eef_pos": np.arange(12.0).reshape(4, 3),
        "robot0_eef_rot_axis_angle": np.ones((4, 3)),
        "robot0_demo_end_pose": np.zeros((4, 6)),
    }
    folder = foreign(tmp_path / "cup.zarr", [4], **poses)
    data: Any = zarr.open_group(folder, mode="r+", zarr_format=2)["data"]
    data.create_array(
        "camera0_rgb", data=frames, chunks=(1, 16, 16, 3), compressors=codecs.Jpegxl(lossless=True)
    )
    archive = tmp_path / "cup.zarr.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(folder))
    store = imported(archive, tmp_path / "store", "rate=60")
    episode = store.episode("000000")
    np.testing.assert_array_equal(episode.images("camera0_rgb"), frames)
    action = [poses[f"robot0_{name}"] for name in ("eef_pos", "eef_rot_axis_angle", "gripper_width")]
    np.testing.assert_array_equal(episode.action, np.hstack(action).astype(np.float32))
    assert not any("demo_end_pose" in name for name in store.spec.proprio)
    assert "UMI takes robot0_eef_pos, " in capsys.readouterr().out


# Grippers


@pytest.mark.parametrize(
    ("opened", "closed", "noise"),
    [(100.0, 0.0, 5.0), (0.08, 0.0, 0.01), (1.0, -1.0, 0.0), (0.0, 1.0, 0.2), (-1.0, 1.0, 0.0)],
)
def test_a_gripper_is_named_at_import_and_kept(
    tmp_path: Path, opened: float, closed: float, noise: float
) -> None:
    """A grasp at step 6 of 15, in the units of five makes of gripper; its entry is not the last."""
    rng = np.random.default_rng(0)
    values = np.where(np.arange(15) < 6, opened, closed) + rng.uniform(-noise, noise, 15)
    action = np.column_stack([rng.standard_normal(15), values, rng.standard_normal(15)])
    source = foreign(tmp_path / "a.zarr", [15], state=np.zeros((15, 2)), action=action)
    store = imported(source, tmp_path / "store", "rate=10", f"gripper=1:{closed}:{opened}")
    assert store.spec.grippers == (GripperSpec(1, opened, closed),)
    is_closed = store.spec.grippers[0].is_closed(store.episode("000000").action)
    np.testing.assert_array_equal(is_closed, np.arange(15) >= 6)
    back = imported(export(store, tmp_path / "out.zarr"), tmp_path / "back")
    assert back.spec.grippers == store.spec.grippers
    other = imported(tmp_path / "out.zarr", tmp_path / "other", f"gripper=action[0]:{closed}:{opened}")
    assert other.spec.grippers == (GripperSpec(0, opened, closed),)


def test_without_a_gripper_one_line_says_how_to_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = pusht(tmp_path / "pusht.zarr")
    assert imported(source, tmp_path / "store", "rate=10").spec.grippers == ()
    said = [line for line in capsys.readouterr().out.splitlines() if "no gripper" in line]
    assert len(said) == 1
    assert "gripper=6:0:1 would name one" in said[0]
    imported(source, tmp_path / "named", "rate=10", "gripper=2:0:1")
    assert "no gripper" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("gripper=2", "gripper=2: expected ENTRY:CLOSED:OPEN"),
        ("gripper=2:shut:open", "expected ENTRY:CLOSED:OPEN"),
        ("gripper=3:0:1", "the action has no entry '3'; it has action[0], action[1], action[2]"),
        ("gripper=2:1:1", "values that differ"),
        ("gripper=jaw:0:1", "the action has no entry 'jaw'"),
    ],
)
def test_a_gripper_that_is_not_whole_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, expected: str
) -> None:
    source, _ = pusht(tmp_path / "pusht.zarr")
    assert expected in import_refusal(capsys, source, tmp_path / "store", "rate=10", option)


# A format of one's own


@dataclass(frozen=True)
class CsvOptions:
    rate: Positive | None
    separator: str = ","


class Csv:
    """One CSV file of actions.

    It has no frames.
    """

    def read(self, source: Path, options: CsvOptions) -> Incoming:
        action = np.loadtxt(source, np.float32, delimiter=options.separator, ndmin=2)
        rate = options.rate or 1.0
        spec = RobotSpec({}, ("a",), tuple(f"a{i}" for i in range(action.shape[1])), "unknown", rate)
        episode = Episode({}, action[:, :1], action, action.copy(), nominal_time(len(action), rate))
        return Incoming(spec, {}, 1, [IncomingEpisode("one", lambda: episode)], Notes(lost=["frames"]))


def test_a_format_is_a_class_and_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "csv", f"{__name__}:Csv")
    source = tmp_path / "a.csv"
    source.write_text("1;2\n3;4\n")
    store = imported(source, tmp_path / "store", "rate=5", "+options.separator=';'", form="csv")
    np.testing.assert_array_equal(store.episode("000000").action, [[1, 2], [3, 4]])
    assert store.spec.rate == 5
    assert "  lost: frames" in capsys.readouterr().out
    assert toy_loop.s2robot("import", "--help") == 0
    assert re.search(r"^  csv +One CSV file of actions\.$", capsys.readouterr().out, re.M)
    assert toy_loop.s2robot("export", "--help") == 0
    assert "csv" not in capsys.readouterr().out, "it is not written"
    arguments = ("import", f"demos={source}", f"out={tmp_path / 'x'}")
    message = toy_loop.refusal(capsys, *arguments, "format=csv", "+options.seperator=x")
    assert "unknown option of this format 'seperator': did you mean 'separator'?" in message
    message = toy_loop.refusal(capsys, *arguments, "format=csv", "+options.separator=3")
    assert "separator=3: expected text" in message
    message = toy_loop.refusal(capsys, *arguments, "format=cvs")
    assert "unknown format 'cvs': did you mean 'csv'?" in message
    message = toy_loop.refusal(capsys, "export", f"demos={store.path}", "out=x", "format=csv")
    assert "unknown format 'csv': valid: diffusion_policy, lerobot, mp4" in message


# Mistakes and damage


def test_nothing_is_overwritten(demos: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = export(demos, tmp_path / "out.zarr")
    before = contents(demos)
    assert "exists already" in import_refusal(capsys, source, demos.path)
    assert contents(demos) == before
    again = ("export", "format=mp4", f"demos={demos.path}", f"out={source}")
    assert "exists already" in toy_loop.refusal(capsys, *again)
    assert (source / "meta").is_dir()


@pytest.mark.parametrize(
    ("ends", "arrays", "expected"),
    [
        ([4, 9], {}, "give rate=10"),
        ([4, 9], {"action": None, "rate": 10}, "has no data/action"),
        ([4, 4], {"rate": 10}, "expected rising ends"),
        ([0, 9], {"rate": 10}, "expected rising ends"),
        ([4, 10], {"rate": 10}, "the last episode ends at 10"),
        ([9], {"rate": 10, "img": -1}, "data/img has values from -1 to"),
        ([9], {"rate": 10, "state": np.nan}, "expected finite numbers"),
        (
            [4, 9],
            {"rate": 10, "proprio": "[stat]"},
            "unknown array for proprio 'stat': did you mean 'state'?",
        ),
    ],
)
def test_a_file_that_is_not_right_is_refused_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ends: list[int], arrays: dict[str, Any], expected: str
) -> None:
    _, made = pusht(tmp_path / "made.zarr")
    options = [f"{name}={arrays.pop(name)}" for name in ("rate", "proprio") if name in arrays]
    for name, value in arrays.items():
        made[name] = made[name].copy()
        if value is None:
            del made[name]
        else:
            made[name][6] = value
    source = foreign(tmp_path / "wrong.zarr", ends, **made)
    assert expected in import_refusal(capsys, source, tmp_path / "store", *options)


def test_what_is_no_replay_buffer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(source: Path) -> str:
        return import_refusal(capsys, source, tmp_path / "store", "rate=10")

    assert "does not exist" in said(tmp_path / "nowhere")
    (tmp_path / "text").write_text("hello")
    assert "cannot read its root" in said(tmp_path / "text")
    zarr.create_group(tmp_path / "empty.zarr", zarr_format=2)
    assert "has no group `data`: expected data and meta, found nothing" in said(tmp_path / "empty.zarr")
    shutil.rmtree(pusht(tmp_path / "no_ends.zarr")[0] / "meta" / "episode_ends")
    assert "has no meta/episode_ends" in said(tmp_path / "no_ends.zarr")


@pytest.mark.parametrize("harm", ["cut", "gone", "attributes", "former"])
def test_damage_to_our_own_file_is_never_read_as_frames(
    demos: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    source = export(demos, tmp_path / "out.zarr")
    chunk = source / "data" / "front" / "30.0.0.0"
    if harm == "cut":
        chunk.write_bytes(chunk.read_bytes()[:100])
    elif harm == "gone":
        chunk.unlink()
    else:
        sidecar = {"schema": 2 if harm == "attributes" else 1, "episodes": 3}
        (source / ".zattrs").write_text(json.dumps({"s2robot": sidecar}))
    message = import_refusal(capsys, source, tmp_path / "store", "strict=true")
    expected = {
        "cut": "data/front",
        "gone": "30.0.0.0 is missing",
        "attributes": "not as s2robot writes it",
        "former": "has schema 1, this s2robot reads 2",
    }
    assert expected[harm] in message


def test_a_missing_codec_is_named_with_its_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = pusht(tmp_path / "pusht.zarr")
    described = source / "data" / "img" / ".zarray"
    metadata = json.loads(described.read_text()) | {"compressor": {"id": "imagecodecs_of_the_future"}}
    described.write_text(json.dumps(metadata))
    message = import_refusal(capsys, source, tmp_path / "store", "rate=10")
    assert 'pip install "s2robot[imagecodecs]"' in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["format=lerobto"], "unknown format 'lerobto': did you mean 'lerobot'?"),
        (["format=mp4", "episodes=['000001']"], "unknown episode '000001'"),
        (["format=mp4", "cameras=[frnt]"], "unknown camera 'frnt'"),
        (["format=mp4", "cameras=[]"], "cameras=[]: expected a list of one or more of"),
        (["format=mp4", "episodes=['000000','000000']"], "episode 000000 is named twice"),
        (["format=diffusion_policy", "frames_per_chunk=0"], "frames_per_chunk=0: expected 1 or more"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(
    demos: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    arguments = ("export", f"demos={demos.path}", f"out={tmp_path / 'out'}", *options)
    assert expected in toy_loop.refusal(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_no_part_of_the_target(tmp_path: Path) -> None:
    def fail() -> None:
        with new_path(tmp_path / "out") as path:
            path.mkdir()
            (path / "half").write_text("")
            raise OSError(28, os.strerror(28))

    assert refusal(fail) == f"cannot write {tmp_path / 'out'}: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    running = f".{temporary_tag()}.out"
    for name in (running, f".{ended_tag()}.out"):
        (tmp_path / name).mkdir()
    with new_path(tmp_path / "out") as path:
        path.write_text("mine")
    assert {p.name for p in tmp_path.iterdir()} == {"out", running}


def test_a_file_is_no_folder_for_a_target(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def write() -> None:
        with new_path(tmp_path / "file" / "out"):
            pass

    assert refusal(write).startswith(f"cannot write {tmp_path / 'file' / 'out'}: ")


def test_a_rival_s_file_is_kept(tmp_path: Path) -> None:
    def lose() -> None:
        with new_path(tmp_path / "out") as path:
            path.write_text("mine")
            (tmp_path / "out").write_text("theirs")

    assert "exists already" in refusal(lose)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"out": "theirs"}


# Films


def test_a_film_has_the_frames_and_the_duration_of_its_episode(
    demos: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export(demos, tmp_path / "films", form="mp4")
    for episode_id, steps in zip(demos.ids(), LENGTHS, strict=True):
        for camera, shape in SPEC.cameras.items():
            with av.open(str(out / episode_id / f"{camera}.mp4")) as container:
                stream = container.streams.video[0]
                assert stream.frames == steps == sum(1 for _ in container.decode(stream))
                assert (stream.height, stream.width) == shape[:2]
                assert float(stream.duration * stream.time_base) == pytest.approx(steps / SPEC.rate)
    metas = json.loads((out / "s2robot.json").read_text())["episodes"]
    assert [e["id"] for e in metas] == demos.ids()
    assert metas[2]["time"] == demos.episode("000004").time.tolist()
    assert metas[2]["attributes"]["action_loss_mask"][-1] is False
    assert "frames of wrist: H.264, 20 frames compared: mean error" in capsys.readouterr().out


def test_a_film_shows_its_own_camera(tmp_path: Path) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    episode = made_episode(0, 0, steps=6)
    for camera, level in (("front", 200), ("wrist", 40)):
        episode.images[camera][:] = level
    store.append(episode)
    out = export(store, tmp_path / "films", form="mp4")
    levels = {camera: read_mp4(out / "000000" / f"{camera}.mp4").mean() for camera in SPEC.cameras}
    assert levels == pytest.approx({"front": 200, "wrist": 40}, abs=4)


# Their own pins

PINS = ("zarr==2.12.0", "numcodecs==0.10.2", "numpy==1.23.3")
"""Those of diffusion_policy's environment, for Python 3.9."""


@pytest.fixture(scope="session")
def zarr2_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with those versions: named by S2ROBOT_ZARR2_PYTHON, or made here with python3.9 or 3.10."""
    if given := os.environ.get("S2ROBOT_ZARR2_PYTHON"):
        return Path(given)
    found = [python for name in ("python3.9", "python3.10") if (python := shutil.which(name))]
    base = next(
        (p for p in found if subprocess.run([p, "-c", ""], capture_output=True).returncode == 0), None
    )
    if base is None:  # a name may be there and bring none, as pyenv's are
        pytest.skip("diffusion_policy's pins need Python 3.9 or 3.10, or S2ROBOT_ZARR2_PYTHON")
    folder = tmp_path_factory.mktemp("zarr2")
    subprocess.run([base, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *PINS], check=True)
    return folder / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demos.zarr", "demos.zarr.zip"])
def test_the_versions_that_diffusion_policy_pins_read_it(
    demos: DemoStore, tmp_path: Path, zarr2_python: Path, name: str
) -> None:
    source = export(demos, tmp_path / name)
    script = Path(__file__).parents[1] / "replay_buffer_rules.py"
    command = [zarr2_python, "-I", script, source]
    read = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert (read["zarr"], read["ends"]) == ("2.12.0", np.cumsum(LENGTHS).tolist())
    episodes = [demos.episode(episode_id) for episode_id in demos.ids()]
    held = {camera: np.concatenate([e.images(camera) for e in episodes]) for camera in SPEC.cameras}
    for series in ("proprio", "action", "action_applied", "time"):
        held[series] = np.concatenate([getattr(e, series) for e in episodes])
    from replay_buffer_rules import fingerprint

    assert read["arrays"] == {key: fingerprint(array) for key, array in held.items()}
