"""What is attempted over and over: a task, the starts it is attempted from, and why an attempt failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from s2robot.core.errors import UserError

Range = tuple[float, float]


@dataclass(frozen=True)
class Start:
    """Where an episode begins.

    Attributes:
        options: JSON that `env.reset(options=...)` takes; empty where the seed alone decides.
        place: (x, y, angle [rad]) of its marker on maps; None: it has no marker. x and y are in the unit of
            the task's region, in m where it has none; the angle turns from the x axis towards the y axis.
        setup: how a person sets it up by hand, in a sentence; empty where nothing is to be set up.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    place: tuple[float, float, float] | None = None
    setup: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What a store or an evaluation keeps: JSON."""
        return {"options": dict(self.options), "place": None if self.place is None else list(self.place)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Start:
        """The inverse of `to_dict`. Raises UserError for something else."""
        try:
            place = plain["place"]
            if place is not None:
                x, y, angle = (float(value) for value in place)
                return cls(dict(plain["options"]), (x, y, angle))
            return cls(dict(plain["options"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"a start is damaged ({error}): {plain}") from error


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed.

    Attributes:
        label: one of the task's `failure_labels`; failures are counted by it.
        text: the label with its figures, e.g. `missed by 2.3 cm`.
        metrics: name with its unit -> value, e.g. `{"missed_by_m": 0.023}`.
    """

    label: str
    text: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SpawnRegion:
    """The rectangle that starts are drawn from, and how maps lay it out.

    Attributes:
        x: from where to where, in `unit`.
        y: likewise.
        unit: of both, e.g. `m` or `px`.
        right: the axis that points right on maps: `x`, `-x`, `y` or `-y`.
        up: the other one, or its opposite: the one that points up.
        x_label: what x counts, e.g. `away from the robot`.
        y_label: likewise.
        view: who sees the task laid out like the map, e.g. `seen from the front camera`.
    """

    x: Range
    y: Range
    unit: str = "m"
    right: str = "x"
    up: str = "y"
    x_label: str = ""
    y_label: str = ""
    view: str = ""

    def __post_init__(self) -> None:
        if sorted((self.right[-1:], self.up[-1:])) != ["x", "y"] or {self.right[:-1], self.up[:-1]} - {
            "",
            "-",
        }:
            raise UserError(
                f"right={self.right} up={self.up}: expected x or -x for one, y or -y for the other"
            )


@dataclass(frozen=True)
class Task:
    """A task of any environment: its starts are seeds. Tasks that know more are subclasses.

    Attributes:
        name: in files and reports, e.g. `cube_pick`.
        instruction: what is to be done, in the imperative, stored with each demo.
        goal: what a success has done, in the past tense: the headline's words.
    """

    name: str = "task"
    instruction: str = ""
    goal: str = "succeeded"

    region: ClassVar[SpawnRegion | None] = None
    failure_labels: ClassVar[tuple[str, ...]] = ()
    metric_meanings: ClassVar[Mapping[str, str]] = {}
    """What reports say that a metric is, by its name with the unit."""
    expert: ClassVar[Mapping[str, Any] | None] = None
    """Config of its scripted expert, which made with `env=` is an `Actor`: the upper bound of an evaluation.
    None: there is none."""
    perturbations: ClassVar[Mapping[str, Any] | None] = None
    """Config of what `evaluate perturbation=NAME` changes: made with `name=` it is `{"env": options of the
    environment, "channel": config of a wrapper or None}`. None: there is none."""

    @property
    def fixed_starts(self) -> Sequence[Start]:
        """The starts that success is always counted on; empty where seeds take their place."""
        return ()

    def starts(self, count: int) -> list[Start]:
        """The first `count` of the fixed starts, or as many seeds. Raises UserError for too many."""
        fixed = list(self.fixed_starts)
        if not fixed:
            return [Start()] * count
        if not 0 <= count <= len(fixed):
            raise UserError(f"starts={count}: expected 0 to {len(fixed)}, the fixed starts of {self.name}")
        return fixed[:count]

    def random_starts(self, count: int, seed: int) -> list[Start]:
        """`count` further starts; a seed's first k are the same for every count."""
        return [Start()] * count

    def failure(self, trace: Sequence[Any]) -> Failure | None:
        """Why an attempt failed; None where it is not known.

        Args:
            trace: what `env.unwrapped.scene()` said before the first action and after each one.
        """
        return None

    def metrics(self, trace: Sequence[Any], grasp_offsets: Sequence[np.ndarray]) -> dict[str, float]:
        """Figures of an attempt, name with its unit -> value.

        Args:
            trace: as `failure` takes it.
            grasp_offsets: (3,) each (m): at each step, from the gripper to the predicted grasp;
                empty for an actor that predicts none.
        """
        return {}

    def to_dict(self) -> dict[str, Any]:
        """What a report needs to know of it: JSON."""
        return {
            "name": self.name,
            "instruction": self.instruction,
            "goal": self.goal,
            "fixed_starts": len(self.fixed_starts),
            "failure_labels": list(self.failure_labels),
            "metric_meanings": dict(self.metric_meanings),
            "region": None if self.region is None else asdict(self.region),
        }
