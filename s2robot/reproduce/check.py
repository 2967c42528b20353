"""Whether all stages of an experiment would take their options, before the first of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s2robot.commands import load_command
from s2robot.evaluation.options import EvaluateOptions
from s2robot.evaluation.rollouts import EvalConfig, perturbation, rollout_specs
from s2robot.record.options import RecordOptions
from s2robot.record.scripted import check_scripted
from s2robot.reproduce.experiment import Work


def check_works(works: Sequence[Work]) -> None:
    """Raises UserError for options that a stage of any of these works would refuse.

    Works that differ in what the plan alone decides are checked once.
    """
    alike = {work.kind: work for work in works}
    for work in alike.values():
        record, train, evaluate = (_options(c.name, c.overrides) for c in work.commands())
        check_scripted(record)
        train.check()
        _check_evaluation(evaluate, record)


def _options(name: str, overrides: Sequence[str]) -> Any:
    return load_command(name, overrides)[1]


def _check_evaluation(evaluate: EvaluateOptions, record: RecordOptions) -> None:
    """Against the task of the demos, which no checkpoint names yet."""
    env = dict(evaluate.env or record.env)
    task = EvalConfig(evaluate.recorded(), env, is_chosen=True).task()
    rollout_specs(evaluate, task)
    if evaluate.perturbation is not None:
        perturbation(task, evaluate.perturbation)
