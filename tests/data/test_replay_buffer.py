"""Replay buffers as others write them: layouts, kinds of pictures, files that are missing or linked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_loop
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import made_episode
from mistakes import refusal
from replay_buffers import foreign
from test_import import ENDS, arrays, imported, refused

from s2robot.core.spec import RobotSpec
from s2robot.data.formats.columns import Columns, select_columns
from s2robot.data.store import DemoStore

FRAMES = arrays()["img"]
GREY = FRAMES[..., :1]


# Layouts


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_both_layouts_of_zarr_are_read(tmp_path: Path, zarr_format: int, zipped: bool) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, zarr_format=zarr_format, chunk=4, **arrays())
    if zipped:
        shutil.make_archive(str(source), "zip", source)
        source = source.with_name("a.zarr.zip")
    store = imported(source, "rate=10")
    np.testing.assert_array_equal(store.episode("000001").images("img"), FRAMES[4:9])
    np.testing.assert_array_equal(store.episode("000002").action, arrays()["action"][9:])


@pytest.mark.parametrize(
    ("pictures", "expected", "said"),
    [
        (np.moveaxis(FRAMES, -1, 1), FRAMES, "channels moved to the last axis"),
        (np.concatenate([FRAMES, 255 - GREY], -1), FRAMES, "its fourth channel left out"),
        (GREY, np.repeat(GREY, 3, -1), "grey, repeated in three colours"),
        (GREY[..., 0], np.repeat(GREY, 3, -1), "grey, repeated in three colours"),
        (FRAMES.astype(np.float32), FRAMES, None),
        ((FRAMES / 255).astype(np.float32), FRAMES, "numbers from 0 to 1 times 255"),
        (np.moveaxis(FRAMES / 255, -1, 1), FRAMES, "numbers from 0 to 1 times 255"),
        (FRAMES.astype(np.int64), FRAMES, None),
    ],
    ids=["NCHW", "RGBA", "grey", "grey without axis", "float 255", "float 1", "float NCHW", "int64"],
)
def test_pictures_of_every_kind_are_converted_and_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pictures: np.ndarray,
    expected: np.ndarray,
    said: str | None,
) -> None:
    store = imported(foreign(tmp_path / "a.zarr", ENDS, **arrays(img=pictures)), "rate=10")
    assert store.spec.cameras == {"img": (8, 10, 3)}
    np.testing.assert_array_equal(store.episode("000001").images("img"), expected[4:9])
    if said:
        assert f"  kept: data/img: {said}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1.0, "data/img has values from -1 to "),
        (256.0, " to 256: expected 0 to 255"),
        (np.nan, "nan: expected 0 to 255"),
    ],
)
def test_what_is_no_picture_breaks_its_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, expected: str
) -> None:
    frames = FRAMES.astype(np.float32)
    frames[5, 0, 0, 0] = value
    assert len(imported(foreign(tmp_path / "a.zarr", ENDS, **arrays(img=frames)), "rate=10")) == 2
    said = capsys.readouterr().out
    assert "  set aside: episode 1: data/img has values" in said
    assert expected in said


def test_depth_is_left_out_and_a_file_without_cameras_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth = arrays()["img"][..., 0].astype(np.uint16)
    store = imported(foreign(tmp_path / "a.zarr", ENDS, **arrays(img=depth)), "rate=10")
    assert store.spec.cameras == {}
    said = capsys.readouterr().out
    assert "  lost: data/img (15, 8, 10)\n" in said
    assert "  lost: cameras: no array holds pictures\n" in said


# Files


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("array", ["action", "img", "state", "timestamp"])
def test_a_missing_chunk_is_named_and_never_read_as_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int, zipped: bool, array: str
) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, zarr_format=zarr_format, chunk=4, **arrays())
    at = [1] + [0] * (arrays()[array].ndim - 1)
    name = ".".join(map(str, at)) if zarr_format == 2 else "/".join(map(str, ["c", *at]))
    (source / "data" / array / name).unlink()
    if zipped:
        shutil.make_archive(str(source), "zip", source)
        source = source.with_name("a.zarr.zip")
    assert f"data/{array}/{name} is missing" in refused(capsys, source, "rate=10")
    assert len(imported(source, "rate=10", "+options.missing_as_zeros=true")) == 3


def test_arrays_that_lie_elsewhere_and_are_linked_are_read(tmp_path: Path) -> None:
    demos = DemoStore.create(tmp_path / "demos", CAMERAS)
    demos.append(made_episode(0, 0, CAMERAS, steps=5))
    ours = tmp_path / "ours.zarr"
    export = ("export", "format=diffusion_policy", f"demos={demos.path}", f"out={ours}")
    assert toy_loop.s2robot(*export) == 0
    theirs = foreign(tmp_path / "theirs.zarr", ENDS, **arrays())
    for folder in (ours / "data" / "front", theirs / "data" / "img"):
        moved = tmp_path / folder.name
        shutil.move(folder, moved)
        folder.symlink_to(moved)
    assert imported(ours).episode("000000").digest() == demos.episode("000000").digest()
    np.testing.assert_array_equal(imported(theirs, "rate=10").episode("000000").images("img"), FRAMES[:4])


# Names

CAMERAS = RobotSpec(
    {"front": (8, 10, 3), "wrist/left": (6, 8, 3), "100%": (4, 4, 3)}, ("x",), ("dx",), "unknown", 10.0
)


def test_a_slash_in_a_camera_s_name_is_escaped_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = DemoStore.create(tmp_path / "demos", CAMERAS)
    demos.append(made_episode(0, 0, CAMERAS, steps=5))
    for name in ("out.zarr", "out.zarr.zip"):
        out = tmp_path / name
        export = ("export", "format=diffusion_policy", f"demos={demos.path}", f"out={out}")
        assert toy_loop.s2robot(*export) == 0
        assert "  kept: camera wrist/left as data/wrist%2Fleft\n" in capsys.readouterr().out
        assert imported(out).episode("000000").digest() == demos.episode("000000").digest()
    films = tmp_path / "films"
    assert toy_loop.s2robot("export", "format=mp4", f"demos={demos.path}", f"out={films}") == 0
    assert (films / "000000" / "wrist" / "left.mp4").is_file()


def test_a_camera_named_like_another_array_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = RobotSpec({"action": (8, 10, 3)}, ("x",), ("dx",), "unknown", 10.0)
    demos = DemoStore.create(tmp_path / "demos", spec)
    demos.append(made_episode(0, 0, spec, steps=5))
    export = ("export", "format=diffusion_policy", f"demos={demos.path}", f"out={tmp_path / 'out'}")
    assert "camera action: data/action is another array" in toy_loop.refusal(capsys, *export)


def test_proprioception_is_chosen_by_columns_and_named(tmp_path: Path) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, **arrays(n=np.arange(15.0, dtype=np.float32)))
    store = imported(source, "rate=10", "proprio=[state[1],n]", "names.proprio=['agent y [px]',n]")
    assert store.spec.proprio == ("agent y [px]", "n")
    expected = np.column_stack([arrays()["state"][4:9, 1], np.arange(4, 9)])
    np.testing.assert_array_equal(store.episode("000001").proprio, expected)


def test_the_default_proprioception_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(foreign(tmp_path / "a.zarr", ENDS, **arrays()), "rate=10")
    assert "  kept: proprio: all arrays that are left: state; proprio=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["proprio=[stat[:2]]"], "unknown array for proprio 'stat': did you mean 'state'?"),
        (["proprio=[state[2]]"], "proprio=state[2]: it has 2 columns, 0 to 1"),
        (["proprio=[state[5:]]"], "proprio=state[5:]: no column is left, state has 2"),
        (["proprio=[state,state[0]]"], "column 0 of state is named twice"),
        (["names.proprio=[x]"], "names.proprio has 1 names: expected 2, for state[0], state[1]"),
    ],
)
def test_a_wrong_choice_of_columns_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, **arrays())
    assert expected in refused(capsys, source, "rate=10", *options)


numbers = st.integers(-12, 12)
parts = st.one_of(
    numbers.map(str),
    st.tuples(st.one_of(st.none(), numbers), st.one_of(st.none(), numbers)).map(
        lambda ends: ":".join("" if end is None else str(end) for end in ends)
    ),
)


@given(width=st.integers(1, 8), chosen=st.lists(parts, min_size=1, max_size=3))
def test_columns_are_indexed_as_numpy_does_or_refused(width: int, chosen: list[str]) -> None:
    array = np.arange(width)[None] + np.zeros((3, 1))
    text = f"a[{','.join(chosen)}]"
    try:
        expected = [i for part in chosen for i in np.atleast_1d(eval(f"np.arange({width})[{part}]"))]
    except IndexError:
        expected = []
    if not expected or len(set(expected)) < len(expected):
        assert "proprio=" in refusal(lambda: select_columns([text], {"a": array}))
        return
    (columns,) = select_columns([text], {"a": array})
    assert columns == Columns("a", array, tuple(map(int, expected)))
    np.testing.assert_array_equal(columns.take(array)[0], expected)
    assert columns.labels() == tuple(f"a[{i}]" for i in expected)
