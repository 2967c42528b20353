"""What is compared in `s2robot reproduce table10`: arms, in cells from the most important to the least.

The plans in words, with the analysis and what it takes: docs/results/table10/plan.md, of `fine_grid`
docs/results/fine_grid/plan.md, of `tiny_cube` docs/results/tiny_cube/plan.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from s2robot.reproduce.experiment import choose

FRONT, BOTH = ("front",), ("front", "wrist")
SINGLE, S2 = (224,), (224, 448)
EPISODES, STEPS, STARTS, RANDOM_STARTS = 120, 1500, 16, 100
"""Demos in a store, training steps of every arm, and the starts, the same for every arm and seed."""

STORES: dict[str, tuple[str, ...]] = {
    "standard": (),
    "rendered_224": ("env.image_size=224",),
    "oracle": ("+env.oracle=true",),
    "small_cube": ("+env.cube_size=0.03",),
    "far_camera": ("+env.camera_distance=1.3",),
    "distant": ("+env.cube_size=0.03", "+env.camera_distance=1.5"),
    "distant_20mm": ("+env.cube_size=0.02", "+env.camera_distance=1.5"),
    "varied": ("+env.perturb.light=1.0", "+env.perturb.texture=1.0", "+env.perturb.camera=1.0"),
}
"""Demo stores, and what of `s2robot record`'s options makes them. The same seeds: the same cubes and arms."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared.

    Attributes:
        encoder: whose options train it: small, large, random or blind.
        sizes: scales of S² in px. resize_to: to whose grid of patches they are resized.
        crop: the part of the front camera's frames that is encoded; None: all.
        grasp_conditioning: the policy is conditioned on a grasp position predicted from the image.
        visual_dropout: share of the training windows in which the visual tokens are dropped.
        store: of `STORES`. episodes: how many of its demos, the first ones; None: all.
        actor: policy, or expert: the scripted one from the starts of the policy.
        perturbation: that it is evaluated under; `trained_as` is then the arm whose checkpoints it takes.
    """

    name: str
    encoder: str = "small"
    sizes: tuple[int, ...] = SINGLE
    resize_to: int | tuple[int, int] = 0
    crop: tuple[float, float, float, float] | None = None
    cameras: tuple[str, ...] = FRONT
    pooling: str = "spatial_projection"
    grasp_conditioning: bool = False
    visual_dropout: float = 0.0
    store: str = "standard"
    episodes: int | None = None
    actor: str = "policy"
    perturbation: str | None = None
    trained_as: str | None = None


FOUR = (
    Arm("small-1x"),
    Arm("small-s2", sizes=S2),
    Arm("large-1x", encoder="large"),
    Arm("large-s2", encoder="large", sizes=S2),
)
"""The smaller and the larger encoder, at one scale and at two."""


def _all(suffix: str, arms: Sequence[Arm] = FOUR, **changes: object) -> tuple[Arm, ...]:
    return tuple(replace(arm, name=f"{arm.name}-{suffix}", **changes) for arm in arms)  # type: ignore[arg-type]


CONDITIONED = _all("conditioned", pooling="spatial_convolution", grasp_conditioning=True)
"""The four of the grasp-conditioning experiment."""

_RECIPE = {"pooling": "spatial_convolution", "grasp_conditioning": True, "visual_dropout": 0.5}

DROPOUT = _all("dropout", **_RECIPE)
"""Those of the visual-dropout experiment; all that came after it is made of them."""


_FINE = (
    replace(FOUR[1], name="small-s2-fine", resize_to=-1),
    FOUR[0],
    replace(FOUR[0], name="small-1x-upsampled", resize_to=(28, 28)),  # as many tokens, nothing more in them
    FOUR[1],
)

_TABLE = (0.27, 0.55, 0.73, 0.78)  # the top of the table from a camera 1.5 times as far away

_CROPPED = replace(FOUR[0], name="small-1x-crop", crop=_TABLE)


def _under(perturbation: str) -> tuple[Arm, ...]:
    return tuple(
        replace(a, name=f"{a.name}-{perturbation}", perturbation=perturbation, trained_as=a.name)
        for a in DROPOUT
    )


CELLS: dict[str, tuple[Arm, ...]] = {
    "headline": FOUR,
    "controls": (
        Arm("small-wide", sizes=(224, 224)),  # the channels of S² without its second scale
        Arm("random-s2", encoder="random", sizes=S2),
        Arm("blind", encoder="blind"),
        Arm("oracle", encoder="blind", store="oracle"),
        Arm("expert", actor="expert", trained_as="small-1x"),
    ),
    "grasp_conditioning": (
        *CONDITIONED,
        *_all(
            "wrist-conditioned",
            FOUR[1:2],
            cameras=BOTH,
            pooling="spatial_convolution",
            grasp_conditioning=True,
        ),
    ),
    "visual_dropout": (*DROPOUT, *_all("wrist", DROPOUT[1:2], cameras=BOTH)),
    "rendered_224": _all("from224", store="rendered_224"),
    "wrist": _all("wrist", cameras=BOTH),
    "perturbations": (*_under("light"), *_under("texture"), *_under("camera")),
    "varied": _all("varied", DROPOUT, store="varied"),
    "conditions": (
        *_all("small-cube", store="small_cube"),
        *_all("far", store="far_camera"),
        *_all("small-cube", DROPOUT, store="small_cube"),
        *_all("far", DROPOUT, store="far_camera"),
    ),
    "fine_grid": _all("distant", _FINE, store="distant", **_RECIPE),
    "tiny_cube": _all("20mm", (*_FINE, _CROPPED), store="distant_20mm", **_RECIPE),
    "curve": (*_all("30", DROPOUT, episodes=30), *_all("60", DROPOUT, episodes=60)),
    "pooling": (*_all("mean", DROPOUT[:3], pooling="mean"), *_all("cls", DROPOUT[:3], pooling="cls")),
}
"""Names of cells -> their arms."""

PLANNED = (
    ("small-s2", "large-1x"),
    ("small-s2", "small-1x"),
    ("large-s2", "large-1x"),
    ("small-s2", "small-wide"),
    ("small-s2-from224", "large-1x-from224"),
)
"""The comparisons decided before the runs; the first is the claim."""

PLANNED_CONDITIONED = (
    ("small-s2-conditioned", "large-1x-conditioned"),
    ("small-s2-conditioned", "small-1x-conditioned"),
)
"""Those of the grasp-conditioning experiment, decided after the first runs and before their own."""

PLANNED_DROPOUT = (("small-s2-dropout", "large-1x-dropout"), ("small-s2-dropout", "small-1x-dropout"))
"""Likewise of the visual-dropout experiment."""


def _fine_grid(suffix: str, others: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"small-s2-fine-{suffix}", f"{other}-{suffix}") for other in others)


_CONTROLS = ("small-1x", "small-s2", "small-1x-upsampled")
PLANNED_FINE_GRID = _fine_grid("distant", _CONTROLS)
PLANNED_TINY_CUBE = _fine_grid("20mm", (*_CONTROLS, "small-1x-crop"))
"""Those of the fine grid in two scenes; the first of each is the claim."""


def chosen_arms(cells: Sequence[str] | None, only: Sequence[str] | None) -> list[Arm]:
    """The arms of these cells (None: of all), in the plan's order; of them those of these names.

    Raises UserError for an unknown cell or arm.
    """
    arms = [arm for cell in choose("cell", cells, list(CELLS)) for arm in CELLS[cell]]
    return [arm_named(name) for name in choose("arm", only, [arm.name for arm in arms])]


def arm_named(name: str) -> Arm:
    """The arm of this name."""
    return next(arm for cell in CELLS.values() for arm in cell if arm.name == name)


def seeds_of(arm: Arm, seeds: Sequence[int]) -> list[int]:
    """The training seeds of an arm: the expert, which is not trained, has the first alone."""
    return list(seeds[:1] if arm.actor == "expert" else seeds)
