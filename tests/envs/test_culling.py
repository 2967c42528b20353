"""What is left out because a camera cannot see it changes no pixel."""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from envs.cube_pick.simulation import CAMERAS, Renderer, make_simulation

SIZE = 128


class Scene:
    """The task's model, which may be put into any state, and both ways of drawing it."""

    def __init__(self) -> None:
        self.simulation = make_simulation("ee_delta", rate=10)
        self.model, self.data = self.simulation.sim.model._model, self.simulation.sim.data._data
        self.culling, self.plain = (Renderer(self.model, SIZE, cull=cull) for cull in (True, False))

    def shuffle(self, rng: np.random.Generator) -> None:
        """Arm, cube and cameras anywhere."""
        low, high = self.model.jnt_range[:7].T
        self.data.qpos[:7] = rng.uniform(low, high)
        self.data.qpos[9:12] += rng.uniform(-0.1, 0.1, 3)
        for name in CAMERAS.values():
            camera = self.model.camera(name)
            camera.fovy[:] = rng.uniform(20, 110)
            camera.pos[:] += rng.uniform(-0.05, 0.05, 3)
        mujoco.mj_forward(self.model, self.data)

    def close(self) -> None:
        self.culling.close()
        self.plain.close()
        self.simulation.close()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_frame_is_the_same_bit_for_bit(scene: Scene, seed: int) -> None:
    scene.shuffle(np.random.default_rng(seed))
    for camera in CAMERAS:
        with_all = scene.plain.render(scene.data, camera).copy()
        assert np.array_equal(scene.culling.render(scene.data, camera), with_all), camera


def test_fewer_geoms_are_drawn_and_the_model_is_as_before(scene: Scene) -> None:
    scene.simulation.reset()
    groups, counts = scene.model.geom_group.copy(), {}
    for name, renderer in {"culling": scene.culling, "plain": scene.plain}.items():
        renderer.render(scene.data, "wrist", lambda drawn, name=name: counts.update({name: drawn.ngeom}))
    assert 0 < counts["culling"] < counts["plain"] / 2
    assert np.array_equal(scene.model.geom_group, groups)


def test_shadows_of_what_is_out_of_view_are_kept() -> None:
    scene = Scene()
    try:
        shadowed = [Renderer(scene.model, SIZE, shadows=True, cull=cull) for cull in (True, False)]
        first, second = (renderer.render(scene.data, "wrist").copy() for renderer in shadowed)
        assert np.array_equal(first, second)
        for renderer in shadowed:
            renderer.close()
    finally:
        scene.close()
