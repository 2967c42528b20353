"""One training of a sweep, in whatever process and on whatever machine Hydra's launcher runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from s2robot.commands import run_command
from s2robot.core.errors import UserError
from s2robot.utils.atomic_io import read_json, write_json

JOB = "job.json"
"""What a job says of itself: its options, those of its evaluation, and the mistake that ended it, if any."""


def run_job(config: Mapping[str, Any]) -> None:
    """Trains and, where the sweep asks for it, evaluates, into the folder that Hydra gives this job.

    A mistake in its options ends this job alone. One that is finished is left as it is.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    varied = [option for option in hydra.overrides.task if not option.startswith("+")]
    options = [*config["common"], *varied]
    evaluation = None if config.get("evaluation") is None else list(config["evaluation"])
    job: dict[str, Any] = {"options": options, "evaluation": evaluation, "error": None}
    kept = read_job(folder) if (folder / JOB).is_file() else None
    if kept == job:
        return
    if refused := _refusal(folder, kept, evaluation):
        write_json(folder / JOB, {**(kept or {}), "error": refused})
        return
    GlobalHydra.instance().clear()  # else the stages could not compose their configurations
    try:
        _run(folder, options, evaluation)
    except UserError as error:
        job["error"] = " ".join(str(error).split())
    write_json(folder / JOB, job)


def read_job(folder: Path) -> dict[str, Any]:
    """What a finished job says of itself. Raises UserError where that is damaged."""
    job = read_json(folder / JOB, "delete it, and the job runs again")
    options = job.get("options")
    if not (isinstance(options, list) and all(isinstance(o, str) and "=" in o for o in options)):
        raise UserError(f"{folder / JOB} is damaged (options={options!r}): delete it, and the job runs again")
    return {"evaluation": None, "error": None, **job}


def _refusal(folder: Path, kept: dict[str, Any] | None, wanted: list[str] | None) -> str | None:
    """Why not, where an evaluation with other options would be replaced."""
    path = folder / "policy" / "evaluation" / "evaluation.json"
    if kept is None or not path.is_file() or kept["evaluation"] == wanted:
        return None
    return f"{path} was made with {kept['evaluation']}, not {wanted}: give another out="


def _run(folder: Path, options: list[str], evaluation: list[str] | None) -> None:
    policy = folder / "policy"
    run_command("train", [*options, f"out={policy}"])
    if evaluation is None:
        return
    out = policy / "evaluation"
    given = [f"checkpoint={policy}", f"out={out}", "overwrite=true", *evaluation]
    run_command("evaluate", given)
