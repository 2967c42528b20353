"""`s2robot compare`: the tables on the terminal, as JSON, and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from s2robot.compare.comparison import OVER_SEEDS
from s2robot.compare.page import write_page
from s2robot.compare.read import Arm, arms, differing_settings, read
from s2robot.compare.result import Part, examine, lines, tried_by
from s2robot.config.checks import check_file
from s2robot.config.overrides import as_override
from s2robot.core.errors import UserError, unknown
from s2robot.statistics.rates import check_share
from s2robot.utils.provenance import plain

AGAINST = ("all", "first")


def main(cfg: DictConfig) -> None:
    """Compares, prints, and writes the page where `out` is given.

    Raises UserError for evaluations that cannot be read or paired, and for a page that lies there already.
    """
    _check(cfg)
    given = [cfg.evaluations] if isinstance(cfg.evaluations, str) else list(cfg.evaluations)
    compared = arms(read([str(path) for path in given]), cfg.group)
    how = {"confidence": cfg.confidence, "anytime": cfg.anytime, "first_alone": cfg.against == "first"}
    parts = {"positions": examine(compared, "positions", **how)}
    beyond = tried_by(compared, "extra")
    notes = list(_notes(parts["positions"], cfg.confidence))
    if len(beyond) == sum(len(arm.evaluations) for arm in compared):
        parts["extra"] = examine(compared, "extra", **how)
    elif beyond:
        names = ", ".join(evaluation.name for evaluation in beyond)
        notes.append(f"Further positions are left out: not all evaluations have them, only {names}.")
    settings = differing_settings(compared)
    if cfg.json:
        print(json.dumps(plain(_as_json(compared, parts, settings, notes)), indent=1, ensure_ascii=False))
    else:
        print("\n".join(_text(compared, parts, settings, notes)))
    if cfg.out is not None:
        write_page(Path(cfg.out), compared, list(parts.values()), settings, notes)
        if not cfg.json:
            print(f"open {cfg.out}")


def _check(cfg: DictConfig) -> None:
    if cfg.against not in AGAINST:
        raise unknown("against", cfg.against, AGAINST)
    check_share("confidence", cfg.confidence)
    if not cfg.evaluations:
        raise UserError("no evaluations given: expected one or more paths of evaluation.json files")
    if cfg.out is not None:
        check_file(cfg.out, cfg.overwrite)


def _notes(part: Part, confidence: float) -> Iterator[str]:
    """What the intervals cover and what they do not."""
    yield f"Intervals: {100 * confidence:g} %, each for itself. Differences: the first rate minus the second."
    for method in dict.fromkeys(comparison.method for comparison in part.comparisons):
        yield f"Comparisons: {method}."
    if any(row.seeds == 1 and not row.is_member for row in part.rows):
        yield "Of an arm with one training seed they cover other positions, not another training."
    if any(comparison.method == OVER_SEEDS for comparison in part.comparisons):
        yield "Of an arm with several they cover another training too."


def _text(
    compared: Sequence[Arm],
    parts: Mapping[str, Part],
    settings: Mapping[str, list[Any]],
    notes: Sequence[str],
) -> Iterator[str]:
    for part in parts.values():
        yield from lines(part)
        yield ""
    for name, values in settings.items():
        shown = ", ".join(f"{as_override(v)} ({a.name})" for a, v in zip(compared, values, strict=True))
        yield f"differs: {name} {shown}"
    yield from notes


def _as_json(
    compared: Sequence[Arm],
    parts: Mapping[str, Part],
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
        **{name: part.to_dict() for name, part in ({"extra": None} | dict(parts)).items() if part},
        "differs": settings,
        "notes": notes,
    }
