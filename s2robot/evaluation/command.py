"""`s2robot evaluate`: counts a checkpoint's successes at a task's fixed starts, and at random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2robot.config.checks import check_folder
from s2robot.config.compose import compose
from s2robot.config.options import read_options, to_plain
from s2robot.config.overrides import as_overrides
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.evaluation.episodes import check_origin
from s2robot.evaluation.options import EvaluateOptions, deciding
from s2robot.evaluation.replay import replay
from s2robot.evaluation.rollouts import (
    EvalConfig,
    RolloutSpec,
    WorkerContext,
    make_config,
    make_context,
    origin,
    roll_out,
    rollout_specs,
)
from s2robot.evaluation.unfinished import Rollout, Unfinished
from s2robot.policy.checkpoint import checkpoint_sha256, find_checkpoint, read_config
from s2robot.reports.curves import read_curves
from s2robot.reports.evaluation import RolloutVideo, read_stages, write_report
from s2robot.reports.result import SCHEMA, headline, metric_medians, progress_text, read_evaluation, tally
from s2robot.utils.atomic_io import write_json
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import git_state, machine, today, versions
from s2robot.utils.workers import Patience, run_jobs


def main(options: EvaluateOptions) -> int:
    """Runs the rollouts, writes `evaluation.json` and `report.html` into `out`; or replays one of them.

    Rollouts that an earlier run with the same options has finished are not made again. Raises UserError where
    an evaluation lies there already, or rollouts with other options, unless `overwrite`.
    """
    if options.replay is not None:
        return replay(options)
    if options.checkpoint is None:
        raise UserError("checkpoint is missing: give checkpoint=PATH (the folder `s2robot train` wrote)")
    if options.out is None:
        raise UserError("out is missing: give out=PATH (the folder to write into)")
    out = Path(options.out)
    check_folder(out)
    if options.score == "offline":
        from s2robot.evaluation.offline import score_offline  # imports torch

        return score_offline(options, options.checkpoint, out)
    if (out / "evaluation.json").exists() and not options.overwrite:
        raise UserError(f"{out} holds an evaluation already: give another out=, or overwrite=true")
    stages, curves = _stages(options.stages), _curves(find_checkpoint(options.checkpoint))
    common, spec = make_config(options)
    todo = rollout_specs(options, common.task())
    if options.store is not None:
        check_origin(options.store, {"collected_by": "policy", **origin(common)})
    unfinished = Unfinished.begin(out, _identity(common), options.overwrite)
    rollouts = _roll_out_all(common, todo, unfinished, options)
    evaluation = _evaluation(common, spec, [rollout.outcome for rollout in rollouts])
    videos = [RolloutVideo(r.index, r.film) for r in rollouts if r.film is not None]
    cameras = common.env.get("cameras", list(spec.cameras))
    write_report(out / "report.html", evaluation, videos, curves, stages, cameras)
    write_json(out / "evaluation.json", evaluation)
    unfinished.discard()
    _say(evaluation, out)
    return 0


def evaluate_policy(checkpoint: str | Path, out: str | Path, **options: Any) -> dict[str, Any]:
    """Counts successes as `s2robot evaluate` does and returns what it wrote into `OUT/evaluation.json`.

    Args:
        checkpoint: the folder of a policy, or one that holds it.
        out: folder for evaluation.json and report.html.
        options: those of the command, e.g. `starts=4`, `perturbation="light"`, `overwrite=True`.
            `workers=2` needs a script that guards its main part (`if __name__ == "__main__":`).

    Raises UserError as the command.

    Examples:
        >>> evaluation = s2robot.evaluate_policy("runs/policy", "runs/new_evaluation", starts=1)
        >>> evaluation["trials"], evaluation["rollouts"][0]["start"]["options"]
        (1, {'cube': [...]})
    """
    import torch

    overrides = as_overrides({"checkpoint": checkpoint, "out": out, "workers": 0, **options})
    threads = torch.get_num_threads()
    try:
        main(read_options(EvaluateOptions, compose("evaluate", overrides)))
    finally:
        torch.set_num_threads(threads)  # a rollout takes one, a training that follows would be slow
    return read_evaluation(Path(out))


def _say(evaluation: dict[str, Any], out: Path) -> None:
    rollouts = list(evaluation["rollouts"])
    print(f"{headline(evaluation)}: open {out / 'report.html'}")
    if further := evaluation["random_starts"]:
        rollouts += further["rollouts"]
        print(f"and from random starts: {headline(evaluation, further)}")
    if progress := progress_text(evaluation):
        print(progress)
    if medians := metric_medians(rollouts):
        print(medians)


def _roll_out_all(
    common: EvalConfig, todo: list[RolloutSpec], unfinished: Unfinished, options: EvaluateOptions
) -> list[Rollout]:
    """Every rollout in the order of the specs: those that are kept, and the others."""
    done = unfinished.kept({spec.index for spec in todo})
    missing = [spec for spec in todo if spec.index not in done]
    with Progress(total=len(todo), initial=len(done), desc="evaluate", unit="rollout") as progress:
        for rollout in run_jobs(
            _keep_rollout,
            missing,
            workers=min(options.workers, len(missing)),
            start=_start,
            start_args=(common, unfinished),
            patience=Patience(options.start_timeout, options.step_timeout, lambda s: f"rollout {s.index}"),
        ):
            done[rollout.index] = rollout
            progress.set_postfix(successes=sum(r.outcome["success"] for r in done.values()))
            progress.update()
    return [done[spec.index] for spec in todo]


def _start(common: EvalConfig, unfinished: Unfinished) -> tuple[WorkerContext, Unfinished]:
    return make_context(common), unfinished


def _keep_rollout(context: tuple[WorkerContext, Unfinished], spec: RolloutSpec) -> Rollout:
    worker, unfinished = context
    rollout = roll_out(worker, spec)
    unfinished.keep(rollout)
    return rollout


# ---------------------------------------------------------------------- what is written


def _identity(common: EvalConfig) -> dict[str, Any]:
    """All that decides the outcome of a rollout from a start."""
    return {
        "checkpoint": checkpoint_sha256(common.checkpoint),
        "options": deciding(common.options),
        "env": common.env,
        "versions": versions(),
    }


def _evaluation(common: EvalConfig, spec: RobotSpec, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    options = common.options
    channel = {} if common.channel is None else {"channel": common.channel}
    count = options.starts * options.repeats
    fixed, further = outcomes[:count], outcomes[count:]
    config = read_config(common.checkpoint)
    kept = ("policy", "encoder", "encoder_identity", "training", "demos_sha256")
    return {
        "schema": SCHEMA,
        "task": common.task().to_dict(),
        **tally(fixed or further),
        "random_starts": tally(further) if fixed and further else None,
        "seed": options.seed,
        "versions": versions(),
        "git": git_state(),
        "date": today(),
        "machine": machine(),
        "checkpoint_sha256": checkpoint_sha256(common.checkpoint),
        "config": {
            "evaluate": to_plain(options),
            "env": common.env,
            **channel,
            **{name: config[name] for name in kept},
        },
        "rate": spec.rate,
        "max_steps": common.env.get("max_steps"),
    }


def _curves(checkpoint: Path) -> dict[str, list[tuple[int, float]]] | None:
    path = checkpoint / "curves.json"
    return read_curves(path) if path.is_file() else None


def _stages(path: str | None) -> list[tuple[str, float]] | None:
    return None if path is None else list(read_stages(Path(path)).items())
