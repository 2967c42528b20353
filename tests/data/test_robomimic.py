"""robosuite's recordings become demos: what its collector saw is what is stored, frames included."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop

from s2robot.core.spec import GripperSpec
from s2robot.data.store import DemoStore

h5py = pytest.importorskip("h5py")

from lift_recording import RATE, Recording, record_lift  # noqa: E402


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record_lift(tmp_path_factory.mktemp("lift"))


@pytest.fixture(scope="module")
def store(recording: Recording) -> DemoStore:
    return imported(recording.path, recording.path.with_name("store"))


def imported(source: Path, out: Path, *options: str) -> DemoStore:
    arguments = ("import", "format=robomimic", f"demos={source}", f"out={out}", "image_size=64", *options)
    assert toy_loop.s2robot(*arguments) == 0
    return DemoStore.open(out)


@pytest.fixture
def altered(recording: Recording, tmp_path: Path) -> Any:
    """A copy of the recording, open to be changed."""
    path = tmp_path / "altered.hdf5"
    shutil.copy(recording.path, path)
    with h5py.File(path, "r+") as file:
        yield file


def refused(capsys: pytest.CaptureFixture[str], file: Any, *options: str) -> str:
    """The line with which the import of a changed copy ends; it leaves nothing behind."""
    path = Path(file.filename)
    file.close()
    out = path.with_name("store")
    message = toy_loop.refusal(capsys, "import", "format=robomimic", f"demos={path}", f"out={out}", *options)
    assert sorted(path.parent.iterdir()) == [path]
    return message


def test_a_demo_is_what_the_collector_recorded(recording: Recording, store: DemoStore) -> None:
    assert store.ids() == ["demo_1", "demo_2"]
    for n, episode_id in enumerate(store.ids()):
        episode = store.episode(episode_id)
        np.testing.assert_array_equal(episode.action, recording.actions[n].astype(np.float32))
        np.testing.assert_array_equal(episode.time, recording.states[n][:, 0])
        np.testing.assert_allclose(episode.proprio[:, :9], recording.joints[n], atol=1e-6)
        np.testing.assert_allclose(episode.proprio[:, 9:12], recording.grip[n], atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(episode.proprio[:, 12:], axis=1), 1, atol=1e-5)
        assert "success" not in episode.attributes


def test_the_frames_are_those_of_the_living_simulation(recording: Recording, store: DemoStore) -> None:
    for n, episode_id in enumerate(store.ids()):
        for camera, frames in recording.frames[n].items():
            drawn = store.episode(episode_id).images(camera)
            assert np.abs(drawn.astype(int) - frames).mean() < 0.1
            moved = np.abs(frames[0].astype(int) - frames[-1]).mean()
            assert moved > 1, "else any frame would do"


def test_the_spec_says_what_the_numbers_are(store: DemoStore) -> None:
    spec = store.spec
    assert list(spec.cameras) == ["agentview", "robot0_eye_in_hand"]
    assert spec.rate == RATE
    assert spec.action_space == "osc_pose"
    assert spec.action[-1] == "gripper [-1 open, 1 close]"
    assert spec.grippers == (GripperSpec(6, open=-1.0, closed=1.0),)
    assert spec.proprio[0] == "robot0_joint1 [rad]"
    assert spec.proprio[7].endswith("[m]")
    assert store.attributes["robosuite"]["env_info"]["env_name"] == "Lift"


def test_robomimic_says_success_by_rewards_and_which_cameras(
    altered: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """robomimic's own files have env_args, rewards, and a model from another machine."""
    data = altered["data"]
    kwargs = json.loads(data.attrs["env_info"]) | {"camera_names": ["frontview"]}
    data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})
    del data.attrs["env_info"]
    for demo, reward in ((data["demo_1"], 0.0), (data["demo_2"], 1.0)):
        demo.create_dataset("rewards", data=np.full(len(demo["actions"]), reward))
        xml = re.sub(
            r'file="[^"]*/robosuite/', 'file="/home/else/robosuite/robosuite/', demo.attrs["model_file"]
        )
        assert "/home/else/" in xml
        demo.attrs["model_file"] = xml
    path = Path(altered.filename)
    altered.close()
    store = imported(path, path.with_name("store"))
    assert list(store.spec.cameras) == ["frontview"]
    assert [store.episode(i).attributes.get("success") for i in store.ids()] == [None, True]
    assert "  lost: rewards of each demo" in capsys.readouterr().out


def test_an_unknown_camera_is_named_with_those_of_the_model(
    altered: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, altered, "cameras=[agentvew]")
    assert "unknown camera 'agentvew': did you mean 'agentview'?" in message


def test_a_state_that_does_not_fit_its_model_is_refused(
    altered: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    states = altered["data/demo_2/states"][:]
    del altered["data/demo_2/states"]
    altered["data/demo_2"]["states"] = states[:, :-1]
    assert "demo_2 of" in refused(capsys, altered, "strict=true")


@pytest.mark.parametrize(("lacking", "expected"), [("states", "demo_1 of"), ("demos", "holds no demos")])
def test_what_cannot_be_rendered_is_refused(
    altered: Any, capsys: pytest.CaptureFixture[str], lacking: str, expected: str
) -> None:
    del altered["data/demo_1/states" if lacking == "states" else "data"]
    assert expected in refused(capsys, altered)


def test_what_is_no_hdf5_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.hdf5"
    path.write_text("hello")
    out = tmp_path / "store"
    message = toy_loop.refusal(capsys, "import", "format=robomimic", f"demos={path}", f"out={out}")
    assert f"cannot read {path}" in message
