"""What a robot observed in a demo of robomimic's: stored under `obs`, or rendered from its states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.data.formats.columns import Columns, select_columns
from s2robot.data.formats.damage import reading
from s2robot.data.formats.pictures import PictureLayout
from s2robot.data.formats.transfer import Notes
from s2robot.data.streams import Frames, LazyFrames

if TYPE_CHECKING:
    from s2robot.data.formats.rendering import Scene

_CAMERAS = ("agentview", "robot0_eye_in_hand")  # robomimic's usual two
_SUFFIXES = ("_image", "_rgb")
_PRIVILEGED = ("object",)  # poses that only a simulator knows
_SIDE = 448  # px, of what is rendered


@dataclass(frozen=True)
class Stored:
    """Observations under `obs`.

    Attributes:
        pictures: camera -> its key and layout.
        columns: of the arrays that make up the proprioception.
    """

    pictures: Mapping[str, tuple[str, PictureLayout]]
    columns: tuple[Columns, ...]
    flip: bool = False

    @classmethod
    def of(cls, demo: Any, proprio: Sequence[str] | None, flip: bool) -> Stored | None:
        """What the first demo stores; None for nothing. Raises UserError for an unknown part of `proprio`."""
        group = demo.get("obs")
        arrays = {} if group is None else {n: a for n, a in group.items() if hasattr(a, "shape") and a.ndim}
        pictures = {}
        for key, array in arrays.items():
            layout = PictureLayout.of(array.shape, array.dtype, lambda array=array: array[:1])
            if layout is not None:
                pictures[_camera(key)] = key, layout
        keys = {key for key, _ in pictures.values()}
        series = {n: a for n, a in arrays.items() if a.ndim <= 2 and n not in keys}
        if proprio is None:
            chosen = [Columns.whole(n, a) for n, a in series.items() if not n.startswith(_PRIVILEGED)]
        else:
            chosen = select_columns(proprio, series)
        return cls(pictures, tuple(chosen), flip) if pictures or chosen else None

    def has(self, cameras: Sequence[str] | None) -> bool:
        """Whether all of these are stored; None: any."""
        return bool(self.pictures) if cameras is None else all(_camera(c) in self.pictures for c in cameras)

    def select(self, cameras: Sequence[str] | None, notes: Notes) -> Stored:
        """With these cameras alone. Raises UserError for an unknown one and for no proprioception."""
        for camera in cameras or ():
            if _camera(camera) not in self.pictures:
                raise unknown("camera", camera, self.pictures)
        if not self.columns:
            raise UserError("no observation is left for proprio: obs holds nothing but pictures")
        names = list(self.pictures) if cameras is None else [_camera(camera) for camera in cameras]
        pictures = {name: self.pictures[name] for name in names}
        for key, layout in pictures.values():
            notes.kept += [f"obs/{key}: {change}" for change in layout.changes()]
        notes.kept.append(
            f"proprio: {', '.join(c.name for c in self.columns)}; proprio=[NAME[:2]] would choose"
        )
        if not pictures:
            notes.lost.append(
                "cameras: no pictures are stored" if not self.pictures else "cameras: none chosen"
            )
        return replace(self, pictures=pictures)

    @property
    def cameras(self) -> dict[str, tuple[int, int, int]]:
        return {name: layout.shape for name, (_, layout) in self.pictures.items()}

    @property
    def proprio(self) -> tuple[str, ...]:
        return tuple(label for columns in self.columns for label in columns.labels())

    @property
    def used(self) -> set[str]:
        keys = {key for key, _ in self.pictures.values()} | {columns.name for columns in self.columns}
        return {f"obs/{key}" for key in keys}

    def load(self, demo: Any, name: str) -> tuple[dict[str, Frames], np.ndarray]:
        steps, group = len(demo["actions"]), demo.get("obs", {})
        keys = [key for key, _ in self.pictures.values()] + [columns.name for columns in self.columns]
        for key in keys:
            if key not in group or len(group[key]) != steps:
                found = f"{len(group[key])} steps" if key in group else "nothing"
                raise UserError(f"{name}: obs/{key} has {found}, expected {steps} steps, as many as actions")
        images = {c: self._frames(group[key], layout, key) for c, (key, layout) in self.pictures.items()}
        columns = [c.take(np.asarray(group[c.name][:])) for c in self.columns]
        return images, np.concatenate(columns, axis=1).astype(np.float32)

    def close(self) -> None:
        """Nothing is held."""

    def _frames(self, array: Any, layout: PictureLayout, key: str) -> Frames:
        def read(start: int, stop: int) -> np.ndarray:
            with reading(f"obs/{key}"):
                frames = layout.convert(np.asarray(array[start:stop]), f"obs/{key}")
            return np.ascontiguousarray(frames[:, ::-1]) if self.flip else frames

        return LazyFrames((len(array), *layout.shape), read)


class Rendered:
    """Observations rendered from MuJoCo's states, by the model of each demo."""

    used = frozenset({"states"})

    def __init__(self, scene: Scene, model: str, cameras: Sequence[str], side: int) -> None:
        self._scene, self._model, self._is_open = scene, model, False
        self.cameras: dict[str, tuple[int, int, int]] = dict.fromkeys(cameras, (side, side, 3))
        self.proprio = scene.proprio_names()

    @classmethod
    def of(
        cls,
        demo: Any,
        where: str,
        cameras: Sequence[str] | None,
        asked: Sequence[str],
        side: int | None,
        notes: Notes,
    ) -> Rendered:
        """By the first demo.

        Args:
            cameras: names of the model; None: those the file asks for, else the usual two, else the first.

        Raises UserError for a model that cannot be loaded and for an unknown camera.
        """
        scene, model = _scene(demo, where)
        usual = [name for name in _CAMERAS if name in scene.cameras]
        named = [name for name in asked if name in scene.cameras] or usual or scene.cameras[:1]
        chosen = named if cameras is None else list(cameras)
        scene.check_cameras(chosen)
        notes.lost.append("states and models: only their frames and the robot's own joints and poses")
        return cls(scene, model, chosen, side or _SIDE)

    def load(self, demo: Any, name: str) -> tuple[dict[str, Frames], np.ndarray]:
        lacking = ["states"] * ("states" not in demo) + ["model_file"] * ("model_file" not in demo.attrs)
        if lacking:
            raise UserError(f"{name} lacks {', '.join(lacking)}, without which it cannot be rendered")
        if demo.attrs["model_file"] != self._model:
            self.close()
            self._scene, self._model = _scene(demo, name)
        scene, states, actions = self._scene, demo["states"][:], demo["actions"]
        if len(states) != len(actions) or states.shape[1] != scene.state_size:
            raise UserError(
                f"{name}: states {states.shape} and actions {actions.shape} do not fit: expected as many "
                f"of both, and {scene.state_size} numbers a state"
            )
        if scene.proprio_names() != self.proprio:
            raise UserError(f"{name} is of another robot than the first demo: import them apart")
        if self.cameras and not self._is_open:
            scene.open_renderer(next(iter(self.cameras.values())))
            self._is_open = True
        images: dict[str, Frames] = {c: _rendered(scene, c, states, s) for c, s in self.cameras.items()}
        return images, scene.proprio(states)

    def close(self) -> None:
        self._scene.close()
        self._is_open = False


def _rendered(scene: Scene, camera: str, states: np.ndarray, shape: tuple[int, int, int]) -> LazyFrames:
    return LazyFrames((len(states), *shape), lambda a, b: scene.render(camera, states[a:b]))


def _scene(demo: Any, where: str) -> tuple[Scene, str]:
    from s2robot.data.formats.rendering import Scene  # it imports mujoco

    return Scene(str(demo.attrs["model_file"]), where), demo.attrs["model_file"]


def _camera(key: str) -> str:
    """`agentview` of `agentview_image`."""
    suffix = next((s for s in _SUFFIXES if key.endswith(s) and key != s), "")
    return key.removesuffix(suffix)
