"""Laying a robot out: pictures in which misaimed cameras show, and the box that follows from a touch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from mistakes import refusal
from PIL import Image
from robots import FakeRobot

from envs.cube_pick import CubePick
from envs.cube_pick.guide import guides
from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.data.episode import Episode
from s2robot.data.store import DemoStore
from s2robot.deploy.calibrate import CalibrateOptions, Reach, blend, draw, measure, outline
from s2robot.robot.motion_limits import read_workspace
from s2robot.tasks.cube_pick import evaluation_positions

REACH = Reach(x=(-0.2, 0.2), y=(-0.25, 0.25), z=(0.0, 0.45))


def options(out: Path, **changes: Any) -> CalibrateOptions:
    made = read_options(CalibrateOptions, compose("calibrate", [f"out={out}"]))
    return replace(made, **changes)


def test_each_cube_is_seen_where_it_is_put() -> None:
    size, position = 96, 5
    guide = guides(["front"], size)["front"]
    env = CubePick(cameras=["front"], image_size=size)
    try:
        given = {"cube": evaluation_positions()[position]}
        frame = env.reset(seed=0, options=given)[0]["images"]["front"]
    finally:
        env.close()
    seen = [mask.sum() for mask in guide.starts]
    assert all(2 < count < 100 for count in seen), seen
    away = np.abs(frame.astype(int) - guide.background).max(-1)
    assert away[guide.starts[position]].min() > 24 and away[~guide.starts[position]].max() <= 24
    middles = [np.argwhere(mask).mean(axis=0) for mask in guide.starts]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(middles) for b in middles[:i]]
    assert min(apart) > 0.5, "the camera sees the table at a flat angle"


def test_pictures_show_both_views_and_the_cubes(tmp_path: Path) -> None:
    env = FakeRobot(size=64)
    env.connect()
    made = dict(draw(env, options(tmp_path / "out")))
    assert set(made) == {tmp_path / "out" / "front.png", tmp_path / "out" / "wrist.png"}
    front = np.asarray(Image.open(tmp_path / "out" / "front.png"))[1::3, 1::3]
    guide = guides(["front"], 64)["front"]
    cubes = np.argwhere(guide.starts.any(axis=0))
    untouched = np.ones((64, 64), bool)
    (top, left), (bottom, right) = cubes.min(0) - 4, cubes.max(0) + 4  # numbers may reach beyond their cube
    untouched[top:bottom, left:right] = False
    newest = env.eyes["front"].latest().image[0, 0, 0]
    halves = [blend(np.full((64, 64, 3), newest - back, np.uint8), guide.background) for back in (1, 2)]
    assert any(np.array_equal(front[untouched], half[untouched]) for half in halves)
    assert made[tmp_path / "out" / "wrist.png"] == "as it is"


def test_of_a_wide_frame_the_square_in_the_middle_has_the_guide(tmp_path: Path) -> None:
    env = FakeRobot(size=64)
    env.eyes["front"].shape = (64, 96, 3)
    env.connect()
    draw(env, options(tmp_path))
    front = np.asarray(Image.open(tmp_path / "front.png"))
    assert front.shape == (3 * 64, 3 * 96, 3)
    sides = np.concatenate([front[:, : 3 * 16], front[:, -3 * 16 :]], axis=1)
    assert len(np.unique(sides.reshape(-1, 3), axis=0)) == 1, "as the camera sees it"
    assert len(np.unique(front[:, 3 * 16 : -3 * 16].reshape(-1, 3), axis=0)) > 10


def test_demos_of_the_same_cameras_may_be_what_it_is_aimed_by(tmp_path: Path) -> None:
    env = FakeRobot(size=8)
    env.connect()
    spec, steps = env.robot_spec, 2
    images = {name: np.full((steps, *shape), 200, np.uint8) for name, shape in spec.cameras.items()}
    proprio, action = (np.zeros((steps, n), np.float32) for n in (spec.proprio_dim, spec.action_dim))
    store = DemoStore.create(tmp_path / "demos", spec)
    given = options(tmp_path / "out", demos=str(store), guide=None)
    assert "holds no demos" in refusal(lambda: draw(env, given))
    store.append(Episode(images, proprio, action, action, np.arange(steps) / 10))
    made = dict(draw(env, given))
    wrist = np.asarray(Image.open(tmp_path / "out" / "wrist.png"))
    assert wrist.min() >= 100 and wrist.max() < 228
    assert f"half that of {store}" in made[tmp_path / "out" / "wrist.png"]
    larger = FakeRobot(size=16)
    larger.connect()
    assert "(16, 16, 3), the demos of" in refusal(lambda: draw(larger, given))


def test_rims_and_numbers_are_drawn() -> None:
    cubes = np.zeros((1, 90, 90), bool)
    cubes[0, 20:70, 20:70] = True
    drawn = outline(np.zeros((90, 90, 3), np.uint8), cubes).any(axis=-1)
    assert drawn[20, 20:70].all() and drawn[20:70, 69].all() and not drawn[21, 21:69].any()
    assert drawn[35:55, 35:55].any(), "its number"
    drawn[20:70, 20:70] = False
    assert not drawn.any()


def test_a_touch_gives_the_box_around_the_table() -> None:
    env, asked = FakeRobot(), []
    env.connect()
    said = measure(env, REACH, lambda question: asked.append(question) or "")  # type: ignore[func-returns-value]
    x, y, z = env.look()["proprio"][list(env.robot_spec.gripper_position)]
    assert len(asked) == 1 and f"the table's middle is at {x:.3f}, {y:.3f}, {z:.3f} m" in said
    given = dict(part.split("=") for part in said.split() if part.startswith("robot.workspace."))
    box = {name[-1]: [float(v) for v in value.strip("[]").split(",")] for name, value in given.items()}
    assert box["z"][0] == pytest.approx(z + 0.005, abs=1e-3) and box["x"][1] == pytest.approx(
        x + 0.2, abs=1e-3
    )
    read_workspace(box)


def test_no_robot_has_nothing_to_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy_loop.s2robot("calibrate", "robot=none", f"out={tmp_path}") == 2
    assert "nothing to calibrate" in capsys.readouterr().err
