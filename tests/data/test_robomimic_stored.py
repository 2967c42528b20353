"""HDF5 of robomimic and LIBERO with stored observations: nothing is rendered, no states are needed."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop

from s2robot.core.errors import UserError
from s2robot.data.formats.hdf5_check import check_hdf5
from s2robot.data.store import DemoStore

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (2, 6, 12, 16, 3), dtype=np.uint8)
POSITIONS = RNG.standard_normal((2, 6, 3))


def recorded(path: Path, attributes: dict[str, Any] | None = None, **further: Any) -> Path:
    """Two demos of 6 steps of a real arm: images and numbers, neither states nor a model."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for name, value in (attributes or {"env_args": {"env_kwargs": {"control_freq": 15}}}).items():
            data.attrs[name] = json.dumps(value)
        for n in range(2):
            demo = data.create_group(f"demo_{n}")
            demo["actions"] = RNG.standard_normal((6, 7))
            demo["obs/agentview_image"] = FRAMES[n]
            demo["obs/eye_in_hand_rgb"] = FRAMES[n][:, :8, :8]
            demo["obs/ee_pos"] = POSITIONS[n]
            demo["obs/gripper"] = np.arange(6.0)
            demo["obs/object"] = np.ones((6, 10))
            for name, value in further.items():
                if value[n] is not None:
                    demo[name] = value[n]
    return path


def imported(source: Path, *options: str) -> DemoStore:
    out = source.with_suffix(".store")
    assert toy_loop.s2robot("import", "format=robomimic", f"demos={source}", f"out={out}", *options) == 0
    return DemoStore.open(out)


def refused(capsys: pytest.CaptureFixture[str], source: Path, *options: str) -> str:
    out = source.with_suffix(".store")
    return toy_loop.refusal(capsys, "import", "format=robomimic", f"demos={source}", f"out={out}", *options)


def test_stored_images_of_a_real_arm_are_read_without_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = imported(recorded(tmp_path / "real.hdf5"))
    spec = store.spec
    assert spec.cameras == {"agentview": (12, 16, 3), "eye_in_hand": (8, 8, 3)}
    assert (spec.rate, spec.proprio) == (15.0, ("ee_pos[0]", "ee_pos[1]", "ee_pos[2]", "gripper"))
    episode = store.episode("demo_1")
    np.testing.assert_array_equal(episode.images("agentview"), FRAMES[1])
    np.testing.assert_array_equal(episode.proprio[:, :3], POSITIONS[1].astype(np.float32))
    np.testing.assert_allclose(episode.time, np.arange(6) / 15)
    said = capsys.readouterr().out
    assert "  kept: proprio: ee_pos, gripper; " in said
    assert "  lost: obs/object of each demo\n" in said


def test_cameras_proprioception_and_flip_can_be_chosen(tmp_path: Path) -> None:
    options = ("cameras=[agentview_image]", "proprio=[ee_pos[:2]]", "+options.flip=true")
    store = imported(recorded(tmp_path / "real.hdf5"), *options)
    assert list(store.spec.cameras) == ["agentview"]
    assert store.spec.proprio == ("ee_pos[0]", "ee_pos[1]")
    np.testing.assert_array_equal(store.episode("demo_0").images("agentview"), FRAMES[0][:, ::-1])


def test_numbers_alone_are_read_where_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = imported(recorded(tmp_path / "real.hdf5"), "cameras=[]")
    assert store.spec.cameras == {}
    assert "  lost: cameras: none chosen\n" in capsys.readouterr().out


def test_libero_says_what_the_robot_does(tmp_path: Path) -> None:
    attributes = {
        "env_args": {"env_kwargs": {"control_freq": 20}},
        "problem_info": {"language_instruction": "put the bowl on the plate"},
    }
    dones = [np.eye(6)[5].astype(np.uint8)] * 2
    source = recorded(tmp_path / "libero.hdf5", attributes, dones=dones, rewards=dones, robot_states=dones)
    for episode in imported(source).episodes():
        assert episode.attributes["instruction"] == "put the bowl on the plate"
        assert episode.attributes["success"] is True


@pytest.mark.parametrize(
    ("rewards", "dones", "expected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05, 0.06], None, None),
        ([0] * 6, None, None),
        ([0, 0, 1, 0, 0, 1], None, True),
        (None, None, None),
        (None, [0, 0, 0, 0, 0, 1], True),
        (None, [0] * 6, None),
        ([0] * 6, [0, 0, 0, 0, 0, 1], None),
        ([0.1] * 6, [0, 0, 0, 0, 0, 1], True),
    ],
    ids=["dense", "zeros", "sparse", "none", "done", "not done", "contradiction", "dense and done"],
)
def test_success_is_what_rewards_and_dones_say_or_unknown(
    tmp_path: Path, rewards: list[float] | None, dones: list[int] | None, expected: bool | None
) -> None:
    store = imported(recorded(tmp_path / "a.hdf5", rewards=[rewards] * 2, dones=[dones] * 2))
    assert [e.attributes.get("success") for e in store.episodes()] == [expected] * 2
    assert [e.attributes["success"] for e in imported_again(tmp_path, "success=false")] == [False] * 2


def imported_again(folder: Path, *options: str) -> list[Any]:
    source = (folder / "a.hdf5").rename(folder / "b.hdf5")
    return imported(source, *options).episodes()


def test_a_demo_that_lacks_something_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = recorded(tmp_path / "a.hdf5")
    with h5py.File(source, "r+") as file:
        short = file["data/demo_1/obs/agentview_image"][:4]
        del file["data/demo_1/obs/agentview_image"]
        file["data/demo_1/obs/agentview_image"] = short
    assert imported(source).ids() == ["demo_0"]
    assert "  set aside: demo_1: demo_1 of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("attributes", "options", "expected"),
    [
        ({"env_args": {}}, [], "does not say how many steps a second it was recorded with: give rate=20"),
        (None, ["rate=20"], "states 15 Hz: leave rate= out"),
        (None, ["image_size=64"], "image_size=64: the frames are stored"),
        (None, ["cameras=[agentveiw]"], "unknown camera 'agentveiw': did you mean 'agentview'?"),
        (None, ["proprio=[ee_ori]"], "unknown array for proprio 'ee_ori'"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    attributes: dict[str, Any] | None,
    options: list[str],
    expected: str,
) -> None:
    assert expected in refused(capsys, recorded(tmp_path / "a.hdf5", attributes), *options)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.hdf5"]


def test_a_rate_is_taken_where_the_file_has_none(tmp_path: Path) -> None:
    assert imported(recorded(tmp_path / "a.hdf5", {"env_args": {}}), "rate=30").spec.rate == 30


def test_a_damaged_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = recorded(tmp_path / "real.hdf5").read_bytes()
    places = [found.start() for found in re.finditer(b"SNOD", whole)]  # the nodes that list a group's members
    source = tmp_path / "damaged.hdf5"
    for place in places:
        source.write_bytes(whole[:place] + b"XXXX" + whole[place + 4 :])
        assert str(source) in refused(capsys, source, "strict=true")
    assert len(places) >= 4


HANGING = (  # found by fuzzing: HDF5's library never comes back from an attribute of `data`
    "c-rmOJx&5a6u|K}pveM~tO<os5o!xcTLX(*5FkKd2b*Z5qCjKA1>go8func~OK*V;ywM$ONQi~;|4TM6^R=(om$$Qw"
    "o2_ELk{2ro<V-?I+o<)mKX&V5jYi`_<2vK!&2H^V=P&jBhx>;8D6+dZ2V9=_^L-2i|4|&>_H4Y@v8&RzjKA+8c}dds"
    "7@wHeNY<<0P&3yH`|(7MtKW|t^-KN!tl!@@=yaR51G~DbX8nE*0631jzsA}}Cwecv(3^&loRqfR_Hp_;N@h>b?p)cJ"
    "-O2E)_Xb`czS%yj!gp`JYjoQt^`l7dv*tCMVVdwo00000000000002MU-1bdPD}3"
)


def test_a_file_on_which_the_library_hangs_ends_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "demos.hdf5"
    file.write_bytes(zlib.decompress(base64.b85decode(HANGING)))
    with pytest.raises(UserError, match="it is damaged, HDF5's library does not come back from it in 1 s"):
        check_hdf5(file, limit=1)


def test_what_the_library_reports_is_left_to_the_reader(tmp_path: Path) -> None:
    check_hdf5(recorded(tmp_path / "whole.hdf5"))
    (tmp_path / "text.hdf5").write_text("no HDF5")
    check_hdf5(tmp_path / "text.hdf5")
