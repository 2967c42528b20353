"""The maps of a report: what is counted in which cell, and when there is enough to count."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import SVG
from hypothesis import given
from hypothesis import strategies as st

from s2robot.core.errors import UserError
from s2robot.core.task import SpawnRegion, Task
from s2robot.reports.maps import GRID, grid_counts, grid_map, start_map
from s2robot.tasks.cube_pick import CubePickTask, start_at

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

TASK = CubePickTask().to_dict()
REGION = TASK["region"]
PLACES = st.tuples(st.floats(-0.12, 0.12), st.floats(-0.15, 0.15), st.booleans())


def outcomes(places: list[tuple[float, float, bool]]) -> list[dict[str, Any]]:
    return [{"start": start_at((x, y, 0.0)).to_dict(), "success": success} for x, y, success in places]


def placed(places: list[tuple[float, float, bool]]) -> list[tuple[tuple[float, float, float], bool]]:
    return [((x, y, 0.0), success) for x, y, success in places]


def edges() -> tuple[np.ndarray, np.ndarray]:
    (x, x_end), (y, y_end) = REGION["x"], REGION["y"]
    return np.linspace(x, x_end, GRID + 1), np.linspace(y, y_end, GRID + 1)


@given(st.lists(PLACES, max_size=60))
def test_every_outcome_is_counted_once_in_its_cell(places: list[tuple[float, float, bool]]) -> None:
    x, y = edges()
    successes, trials = grid_counts(placed(places), x, y)
    assert trials.sum() == len(places) and successes.sum() == sum(p[2] for p in places)
    for row, column in np.ndindex(GRID, GRID):
        inside = [
            p
            for p in places
            if (x[row] <= p[0] < x[row + 1] or (row == GRID - 1 and p[0] >= x[-1]))
            and (y[column] <= p[1] < y[column + 1] or (column == GRID - 1 and p[1] >= y[-1]))
        ]
        assert (trials[row, column], successes[row, column]) == (len(inside), sum(p[2] for p in inside))


def test_the_grid_is_drawn_where_there_are_enough_starts() -> None:
    places = [(0.03 * (i % 8) - 0.11, 0.04 * (i // 8) - 0.1, i % 3 == 0) for i in range(40)]
    evaluation = {"rollouts": outcomes(places[:16]), "random_starts": None, "task": TASK}
    assert grid_map(evaluation) is None
    drawn = grid_map(evaluation | {"random_starts": {"rollouts": outcomes(places[16:])}})
    assert drawn is not None and drawn.startswith("<svg")
    successes, trials = grid_counts(placed(places), *edges())
    for hits, tried in zip(successes.ravel(), trials.ravel(), strict=True):
        assert f">{hits}/{tried}<" in drawn or tried == 0


def test_the_map_numbers_the_fixed_starts() -> None:
    evaluation = {"rollouts": outcomes([(0, 0, True), (0.1, 0.1, False)]), "task": TASK}
    drawn = start_map(evaluation)
    assert drawn is not None and ">0<" in drawn and ">1<" in drawn


def test_there_is_no_map_where_starts_have_no_place_and_no_grid_without_a_region() -> None:
    rollouts = outcomes([(0, 0, True)] * 40)
    assert start_map({"rollouts": rollouts, "task": Task().to_dict()}) is not None
    assert grid_map({"rollouts": rollouts, "task": Task().to_dict()}) is None
    nowhere = [rollout | {"start": {"options": {}, "place": None}} for rollout in rollouts]
    assert start_map({"rollouts": nowhere, "task": TASK}) is None
    assert grid_map({"rollouts": nowhere, "task": TASK}) is None


def drawn_map(region: SpawnRegion | None, places: list[tuple[float, float, float]]) -> ElementTree.Element:
    task = Task().to_dict() | {"region": None if region is None else asdict(region)}
    rollouts = [{"start": {"place": place}, "success": True} for place in places]
    drawn = start_map({"rollouts": rollouts, "random_starts": None, "task": task})
    assert drawn is not None
    return ElementTree.fromstring(drawn)


def label_places(svg: ElementTree.Element, count: int) -> np.ndarray:
    """(count, 2) in px from the top left: where the numbers of the starts stand."""
    numbers = {e.text: e for e in svg.iter(f"{SVG}text")}
    return np.array([[float(numbers[str(i)].attrib[axis]) for axis in "xy"] for i in range(count)])


@pytest.mark.parametrize(
    ("right", "up"), [("x", "y"), ("y", "-x"), ("-y", "x"), ("-x", "-y"), ("x", "-y"), ("-y", "-x")]
)
def test_a_map_is_laid_out_as_its_region_says(right: str, up: str) -> None:
    region = SpawnRegion((-0.9, 0.9), (-0.9, 0.9), right=right, up=up)
    middle, along_x, along_y = label_places(drawn_map(region, [(0, 0, 0), (0.5, 0, 0), (0, 0.5, 0)]), 3)
    moved = {"x": along_x - middle, "y": along_y - middle}
    for axis, column, sign in ((right, 0, 1), (up, 1, -1)):
        ahead = moved[axis[-1]] * (-1 if axis.startswith("-") else 1)
        assert ahead[column] * sign > 20 and ahead[1 - column] == pytest.approx(0, abs=1)


@pytest.mark.parametrize("half", [0.12, 0.9, 256.0])
@pytest.mark.parametrize("is_told", [True, False])
def test_markers_are_readable_whatever_the_extent(half: float, is_told: bool) -> None:
    region = SpawnRegion((-half, half), (-half, half), unit="px") if is_told else None
    svg = drawn_map(region, [(-half, -half, 0.0), (half, half, 0.0)])
    (group,) = (
        e
        for e in svg.iter(f"{SVG}g")
        if len(e.findall(f"{SVG}path")) == 2
        and "fill: var(--hit)" in (e.findall(f"{SVG}path")[0].get("style") or "")
    )
    corners = np.array(
        re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", group.findall(f"{SVG}path")[0].attrib["d"]), float
    )
    assert 8 < np.ptp(corners, axis=0).min() < 30, "px"


def test_the_axes_have_the_names_of_the_task() -> None:
    region = SpawnRegion(
        (0, 512), (0, 512), "px", "x", "-y", x_label="of the block", view="as the picture is"
    )
    texts = {e.text for e in drawn_map(region, [(9, 9, 0)]).iter(f"{SVG}text")}
    assert {"x [px], of the block", "as the picture is", "y [px]"} <= texts


def test_a_layout_that_is_none_is_refused() -> None:
    for right, up in (("x", "x"), ("y", "-y"), ("z", "y"), ("+x", "y")):
        with pytest.raises(UserError, match=re.escape(f"right={right} up={up}: expected x or -x")):
            SpawnRegion((0, 1), (0, 1), right=right, up=up)


def test_the_map_is_what_the_front_camera_sees() -> None:
    from envs.cube_pick import CubePick

    region = CubePickTask.region
    assert region is not None
    ends = {"y": [(0.0, -0.14, 0.0), (0.0, 0.14, 0.0)], "x": [(-0.11, 0.0, 0.0), (0.11, 0.0, 0.0)]}
    env = CubePick(cameras=["front"], image_size=128)
    for axis, (shown, column, sign) in {"y": (region.right, 1, 1), "x": (region.up, 0, -1)}.items():
        low, high = (red_at(env, pose)[column] for pose in ends[axis])
        ahead = -1 if shown.startswith("-") else 1
        assert shown.endswith(axis) and sign * ahead * (high - low) > 5, "px"
    env.close()


def red_at(env: CubePick, pose: tuple[float, float, float]) -> np.ndarray:
    """(row, column) of the cube in the front camera's picture."""
    observation, _ = env.reset(seed=0, options={"cube": list(pose)})
    frame = observation["images"]["front"].astype(int)
    return np.argwhere(frame[..., 0] - frame[..., 1:].max(axis=-1) > 60).mean(axis=0)
