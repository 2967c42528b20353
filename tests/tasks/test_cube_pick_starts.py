"""Where the cube is put: the 16 positions never move, and demos keep away from them."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from s2robot.tasks.cube_pick import (
    EXCLUSION_RADIUS,
    X_RANGE,
    Y_RANGE,
    CubePose,
    demo_position,
    evaluation_positions,
    further_positions,
)

seeds = st.integers(0, 2**32 - 1)

THE_16 = [
    (-0.0868, -0.1167, -2.551),
    (-0.0973, -0.0302, -3.006),
    (-0.072, 0.0587, -2.863),
    (-0.0755, 0.0936, 1.229),
    (-0.0466, -0.101, 2.882),
    (-0.0067, -0.0277, -2.114),
    (-0.035, 0.0242, 2.863),
    (-0.0396, 0.1162, -0.582),
    (0.0127, -0.1194, 1.693),
    (0.0259, -0.0267, 0.514),
    (0.0097, 0.0513, 1.093),
    (0.0445, 0.0914, 2.981),
    (0.1076, -0.0883, 2.902),
    (0.0958, -0.0452, -2.777),
    (0.0995, 0.0454, 0.936),
    (0.0663, 0.1392, -0.71),
]


def is_inside(pose: CubePose) -> bool:
    x, y, yaw = pose
    return X_RANGE[0] <= x <= X_RANGE[1] and Y_RANGE[0] <= y <= Y_RANGE[1] and -np.pi <= yaw <= np.pi


def test_the_16_positions_are_these_for_good() -> None:
    assert evaluation_positions() == THE_16


def test_there_is_one_in_each_cell_of_the_grid() -> None:
    assert (X_RANGE, Y_RANGE) == ((-0.12, 0.12), (-0.15, 0.15))
    cells = [(int((x + 0.12) // 0.06), int((y + 0.15) // 0.075)) for x, y, _ in evaluation_positions()]
    assert cells == list(itertools.product(range(4), repeat=2))


@given(seeds)
def test_demos_are_inside_the_rectangle_and_away_from_the_16(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        x, y, yaw = demo_position(rng)
        assert is_inside((x, y, yaw))
        assert all(np.hypot(x - ex, y - ey) >= EXCLUSION_RADIUS for ex, ey, _ in THE_16)


def test_demos_cover_the_whole_rectangle() -> None:
    rng = np.random.default_rng(0)
    poses = np.array([demo_position(rng) for _ in range(400)])
    cells = {(int((x + 0.12) // 0.04), int((y + 0.15) // 0.05)) for x, y, _ in poses}
    assert len(cells) == 36
    assert poses[:, 2].min() < -3 and poses[:, 2].max() > 3


@given(seeds, st.integers(0, 30), st.integers(0, 30))
def test_the_first_of_further_positions_do_not_depend_on_how_many(seed: int, few: int, more: int) -> None:
    poses = further_positions(few + more, seed)
    assert len(poses) == few + more
    assert all(is_inside(pose) for pose in poses)
    assert further_positions(few, seed) == poses[:few]


def test_another_seed_gives_other_positions() -> None:
    assert not set(further_positions(20, 0)) & set(further_positions(20, 1))
