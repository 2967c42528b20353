"""The maps of a report: what is counted in which cell, and when there is enough to count."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from s2robot.core.task import Task
from s2robot.reports.maps import GRID, grid_counts, grid_map, start_map
from s2robot.tasks.cube_pick import CubePickTask, start_at

TASK = CubePickTask().to_dict()
REGION = TASK["region"]
PLACES = st.tuples(st.floats(-0.12, 0.12), st.floats(-0.15, 0.15), st.booleans())


def outcomes(places: list[tuple[float, float, bool]]) -> list[dict[str, Any]]:
    return [{"start": start_at((x, y, 0.0)).to_dict(), "success": success} for x, y, success in places]


def placed(places: list[tuple[float, float, bool]]) -> list[tuple[tuple[float, float, float], bool]]:
    return [((x, y, 0.0), success) for x, y, success in places]


def edges() -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.linspace(low, high, GRID + 1) for low, high in REGION.values())
    return x, y


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


def test_there_is_no_map_where_the_task_has_no_region_or_its_starts_no_place() -> None:
    rollouts = outcomes([(0, 0, True)] * 40)
    assert start_map({"rollouts": rollouts, "task": Task().to_dict()}) is None
    assert grid_map({"rollouts": rollouts, "task": Task().to_dict()}) is None
    nowhere = [rollout | {"start": {"options": {}, "place": None}} for rollout in rollouts]
    assert start_map({"rollouts": nowhere, "task": TASK}) is None
    assert grid_map({"rollouts": nowhere, "task": TASK}) is None
