"""The maps of a report: what is counted in which cell, and when there is enough to count."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from s2robot.reports.maps import GRID, grid_counts, grid_map, position_map

RECTANGLE = {"x": [-0.12, 0.12], "y": [-0.15, 0.15]}
PLACES = st.tuples(st.floats(-0.12, 0.12), st.floats(-0.15, 0.15), st.booleans())


def outcomes(places: list[tuple[float, float, bool]]) -> list[dict[str, Any]]:
    return [{"x": x, "y": y, "yaw": 0.0, "success": success} for x, y, success in places]


def edges() -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.linspace(low, high, GRID + 1) for low, high in RECTANGLE.values())
    return x, y


@given(st.lists(PLACES, max_size=60))
def test_every_outcome_is_counted_once_in_its_cell(places: list[tuple[float, float, bool]]) -> None:
    x, y = edges()
    successes, trials = grid_counts(outcomes(places), x, y)
    assert trials.sum() == len(places) and successes.sum() == sum(p[2] for p in places)
    for row, column in np.ndindex(GRID, GRID):
        inside = [
            p
            for p in places
            if (x[row] <= p[0] < x[row + 1] or (row == GRID - 1 and p[0] >= x[-1]))
            and (y[column] <= p[1] < y[column + 1] or (column == GRID - 1 and p[1] >= y[-1]))
        ]
        assert (trials[row, column], successes[row, column]) == (len(inside), sum(p[2] for p in inside))


def test_the_grid_is_drawn_where_there_are_enough_positions() -> None:
    places = [(0.03 * (i % 8) - 0.11, 0.04 * (i // 8) - 0.1, i % 3 == 0) for i in range(40)]
    evaluation = {"positions": outcomes(places[:16]), "extra": None, "spawn_region": RECTANGLE}
    assert grid_map(evaluation) is None
    drawn = grid_map(evaluation | {"extra": {"positions": outcomes(places[16:])}})
    assert drawn is not None and drawn.startswith("<svg")
    successes, trials = grid_counts(outcomes(places), *edges())
    for hits, tried in zip(successes.ravel(), trials.ravel(), strict=True):
        assert f">{hits}/{tried}<" in drawn or tried == 0


def test_the_map_of_positions_numbers_the_fixed_ones() -> None:
    evaluation = {"positions": outcomes([(0, 0, True), (0.1, 0.1, False)]), "spawn_region": RECTANGLE}
    assert ">0<" in position_map(evaluation) and ">1<" in position_map(evaluation)
