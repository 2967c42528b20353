"""`s2robot compare`: the tables on the terminal, as JSON, and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt

from s2robot.compare.comparison import OVER_SEEDS
from s2robot.compare.page import value_text, write_page
from s2robot.compare.read import Arm, arms, differing_settings, fold_sections, read, split_by_origin
from s2robot.compare.result import Outcomes, examine, lines, tried_by
from s2robot.compare.verdict import verdict
from s2robot.config.checks import check_file
from s2robot.config.overrides import as_override
from s2robot.core.errors import UserError
from s2robot.utils.hashing import plain

Level = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True)
class CompareOptions:
    """The options of the command; their meanings are the comments of `configs/compare.yaml`."""

    evaluations: str | tuple[str, ...]
    out: str | None
    overwrite: bool
    json: bool
    confidence: Level
    against: Literal["all", "first"]
    group: bool
    pool: tuple[str, ...]
    anytime: bool


def main(options: CompareOptions) -> None:
    """Compares, prints, and writes the page where `out` is given.

    Raises UserError for evaluations that cannot be read or paired, and for a page that lies there already.
    """
    given = [options.evaluations] if isinstance(options.evaluations, str) else list(options.evaluations)
    if not given:
        raise UserError("no evaluations given: expected one or more paths of evaluation.json files")
    if options.out is not None:
        check_file(options.out, options.overwrite)
    compared = arms(read(given), options.group, options.pool)
    confidence, first_alone = options.confidence, options.against == "first"
    how = {"confidence": confidence, "anytime": options.anytime, "first_alone": first_alone}
    parts = {"starts": examine(compared, "starts", **how)}
    beyond = tried_by(compared, "random_starts")
    notes = [*_arm_notes(compared, options), *_notes(parts["starts"], confidence)]
    if len(beyond) == sum(len(arm.evaluations) for arm in compared):
        parts["random_starts"] = examine(compared, "random_starts", **how)
    elif beyond:
        names = ", ".join(evaluation.name for evaluation in beyond)
        notes.append(f"Random starts are left out: not all evaluations have them, only {names}.")
    settings = differing_settings(compared, options.pool)
    shown = fold_sections(settings, compared)
    said = verdict(list(parts.values()))
    if options.json:
        content = {"verdict": said, **_as_json(compared, parts, settings, notes)}
        print(json.dumps(plain(content), indent=1, ensure_ascii=False))
    else:
        print("\n".join([*_text(compared, parts, shown, notes), "", said]))
    if options.out is not None:
        write_page(Path(options.out), said, compared, _largest_first(parts), shown, notes)
        if not options.json:
            print(f"open {options.out}")


def _largest_first(parts: Mapping[str, Outcomes]) -> list[Outcomes]:
    return sorted(parts.values(), key=lambda part: -len(part.trials))


def _arm_notes(compared: Sequence[Arm], options: CompareOptions) -> Iterator[str]:
    """Which arms differ within, and which are apart though only a machine may lie between them."""
    pooled = [name for name in options.pool if any(_varies(arm, name) for arm in compared)]
    if pooled:
        yield f"Pooled though they differ within an arm: {', '.join(pooled)}."
    for apart, names in split_by_origin(compared) if options.group else ():
        which = f"{', '.join(apart)} differ in {', '.join(names)} alone"
        yield f"{which}: pool=[{','.join(names)}] makes one arm of them."


def _varies(arm: Arm, name: str) -> bool:
    return len({as_override(evaluation.settings.get(name)) for evaluation in arm.evaluations}) > 1


def _notes(part: Outcomes, confidence: float) -> Iterator[str]:
    """What the intervals cover and what they do not."""
    yield f"Intervals: {100 * confidence:g} %, each for itself."
    yield "Differences: the first rate minus the second, in percentage points (pp)."
    for method in dict.fromkeys(comparison.method for comparison in part.comparisons):
        yield f"Comparisons: {method}."
    if any(row.seeds == 1 and not row.is_member for row in part.rows):
        yield "Of an arm with one training seed they cover other starts, not another training."
    if any(comparison.method == OVER_SEEDS for comparison in part.comparisons):
        yield "Of an arm with several they cover another training too."


def _text(
    compared: Sequence[Arm],
    parts: Mapping[str, Outcomes],
    settings: Mapping[str, list[Any]],
    notes: Sequence[str],
) -> Iterator[str]:
    for part in parts.values():
        yield from lines(part)
        yield ""
    for name, values in settings.items():
        having: dict[str, list[str]] = {}
        for arm, value in zip(compared, values, strict=True):
            having.setdefault(value_text(value), []).append(arm.name)
        shown = ", ".join(f"{value} ({' '.join(names)})" for value, names in having.items())
        yield f"differs: {name} {shown}"
    yield from notes


def _as_json(
    compared: Sequence[Arm],
    parts: Mapping[str, Outcomes],
    settings: Mapping[str, list[Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "arms": [
            {
                "name": arm.name,
                "evaluations": [
                    {
                        "name": evaluation.name,
                        "path": evaluation.path,
                        "training_seed": evaluation.training_seed,
                        "checkpoint_sha256": evaluation.content["checkpoint_sha256"],
                    }
                    for evaluation in arm.evaluations
                ],
            }
            for arm in compared
        ],
        **{name: part.to_dict() for name, part in ({"random_starts": None} | dict(parts)).items() if part},
        "differs": settings,
        "notes": notes,
    }
