"""What is changed in the simulated scene to see whether a policy still succeeds: lamp, surfaces, cameras, ...

Every change is drawn anew at each reset from the episode's seed, after everything else that is drawn from it:
the arm starts where it starts without changes, so that outcomes with and without them are paired.
"""

# pyright: reportAttributeAccessIssue=false
# (mujoco is compiled and has no stubs)

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from envs.cube_pick.simulation import CAMERAS, mujoco
from s2robot.core.errors import UserError, unknown
from s2robot.tasks.cube_pick import CubePose

_SURFACES = ("floor", "table_visual")
_WALLS = "wall_"
_CHANGED = ("light_dir", "light_diffuse", "geom_matid", "geom_rgba", "cam_pos", "cam_quat", "body_pos")
"""The arrays of the model that changes write to."""

_SHIFT, _TURN = 0.015, np.deg2rad(1.5)  # m and rad: standard deviation of a camera's place and of its turn
_RAISE = 0.02  # m: the table is at most this much higher or lower
_AWAY = 0.09  # m: between a distractor and the cube


class Distractor(NamedTuple):
    """A body that is seen and touches nothing: shape, half sizes (m), centre (m, table frame), colour."""

    shape: str
    size: np.ndarray
    position: np.ndarray
    rgba: np.ndarray


@dataclass
class Drawn:
    """What of an episode's changes lies outside the model: the table's raise (m), and what is drawn on it."""

    raised: float = 0.0
    distractors: tuple[Distractor, ...] = ()


class Perturbation:
    """Changes of a MuJoCo model, each of a strength: 1 is a change one may meet in another room.

    Args:
        strengths: any of `KINDS`; for `distractors`, how many there are.

    Raises:
        UserError: an unknown kind, or a strength that is negative.
    """

    def __init__(self, model: mujoco.MjModel, strengths: Mapping[str, float]) -> None:
        for kind, strength in strengths.items():
            if kind not in KINDS:
                raise unknown("perturbation", kind, KINDS)
            if not strength >= 0:
                raise UserError(f"perturb.{kind}={strength}: expected a strength of 0 or more")
        self._model = model
        self._strengths = dict(strengths)
        self._base = {name: getattr(model, name).copy() for name in _CHANGED}
        self._headlight = [np.array(light) for light in self._headlights()]
        self.drawn = Drawn()

    def draw(self, rng: np.random.Generator, cube: CubePose) -> None:
        """Undoes the last episode's changes and makes this one's. Call it before the simulator's reset."""
        for name, values in self._base.items():
            getattr(self._model, name)[:] = values
        for light, values in zip(self._headlights(), self._headlight, strict=True):
            light[:] = values
        self.drawn = Drawn()
        for kind, strength in self._strengths.items():
            KINDS[kind](self, rng, strength, cube)

    def _headlights(self) -> tuple[Any, Any]:
        return self._model.vis.headlight.diffuse, self._model.vis.headlight.ambient

    def _light(self, rng: np.random.Generator, strength: float, cube: CubePose) -> None:
        """The lamp's direction, brightness and colour, and the brightness of the light from the camera."""
        m = self._model
        m.light_dir[:, :2] += rng.uniform(-0.6, 0.6, (m.nlight, 2)) * strength
        m.light_dir[:] /= np.linalg.norm(m.light_dir, axis=1, keepdims=True)
        m.light_diffuse[:] *= np.clip(1 + rng.uniform(-0.6, 0.4, (m.nlight, 3)) * strength, 0, None)
        for light in self._headlights():
            light[:] *= max(0.0, 1 + rng.uniform(-0.5, 0.4) * strength)

    def _texture(self, rng: np.random.Generator, strength: float, cube: CubePose) -> None:
        """Table, floor and walls are of each other's materials, and tinted."""
        model = self._model
        names = [model.geom(i).name for i in range(model.ngeom)]
        groups = [[names.index(name)] for name in _SURFACES]
        groups.append([i for i, name in enumerate(names) if name.startswith(_WALLS)])
        materials = [int(self._base["geom_matid"][group[0]]) for group in groups]
        for group in groups:
            tint = np.clip(1 - rng.uniform(0, 0.4, 3) * strength, 0, 1)
            if strength > 0:
                model.geom_matid[group] = rng.choice(materials)
                model.geom_rgba[group] = [*tint, 1]

    def _camera(self, rng: np.random.Generator, strength: float, cube: CubePose) -> None:
        """Each camera is moved and turned a little, as after a knock."""
        for name in CAMERAS.values():
            camera = self._model.camera(name).id
            self._model.cam_pos[camera] += rng.normal(0, _SHIFT * strength, 3)
            before = Rotation.from_quat(self._model.cam_quat[camera], scalar_first=True)
            turn = Rotation.from_rotvec(rng.normal(0, _TURN * strength, 3))
            self._model.cam_quat[camera] = (before * turn).as_quat(scalar_first=True)

    def _table(self, rng: np.random.Generator, strength: float, cube: CubePose) -> None:
        """The table is higher or lower than it was, and the cube with it."""
        self.drawn.raised = float(rng.uniform(-_RAISE, _RAISE) * strength)
        self._model.body_pos[self._model.body("table").id, 2] += self.drawn.raised

    def _distractors(self, rng: np.random.Generator, strength: float, cube: CubePose) -> None:
        """Other things on the table, of any colour but the cube's; not near it."""
        found: list[Distractor] = []
        while len(found) < round(strength):
            place = rng.uniform((-0.2, -0.25), (0.2, 0.25))
            if np.linalg.norm(place - cube[:2]) < _AWAY:
                continue
            size = rng.uniform(0.012, 0.028, 3)
            colour = colorsys.hsv_to_rgb(rng.uniform(0.1, 0.9), rng.uniform(0.4, 1), rng.uniform(0.3, 0.9))
            shape = ("box", "cylinder", "sphere")[rng.integers(3)]
            height = size[{"box": 2, "cylinder": 1, "sphere": 0}[shape]]
            position = np.append(place, height + self.drawn.raised)
            found.append(Distractor(shape, size, position, np.array([*colour, 1.0])))
        self.drawn.distractors = tuple(found)


KINDS = {
    "light": Perturbation._light,
    "texture": Perturbation._texture,
    "camera": Perturbation._camera,
    "table": Perturbation._table,
    "distractors": Perturbation._distractors,
}
"""What can be changed. `distractors` stand on the table: name them after `table`."""


def draw_distractors(scene: mujoco.MjvScene, distractors: tuple[Distractor, ...], table: np.ndarray) -> None:
    """Adds them to a scene that is about to be rendered; `table` is where the table frame's origin is (m)."""
    shapes = {
        "box": mujoco.mjtGeom.mjGEOM_BOX,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    }
    for d in distractors:
        geom = scene.geoms[scene.ngeom]
        turn, colour = np.eye(3).ravel(), d.rgba.astype(np.float32)
        mujoco.mjv_initGeom(geom, shapes[d.shape], d.size, d.position + table, turn, colour)
        scene.ngeom += 1
