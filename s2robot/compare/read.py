"""Evaluations as `s2robot evaluate` wrote them: read, named, and those of one arm put together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.reports.result import read_evaluation
from s2robot.utils.hashing import sha256_json

_NO_SETTINGS = (
    *("training.seed", "training.demos"),  # demos_sha256 says which demos they are
    *("training.encoder", "training.policy"),  # as under encoder and policy
    "training.init.checkpoint",  # its hash says which
    *(
        "evaluate.checkpoint",
        "evaluate.seed",
        "evaluate.starts",
        "evaluate.random_starts",
        "evaluate.repeats",
    ),
)
"""What may differ in an arm: seeds, and names of places. (The starts are compared as they are.)"""


ORIGIN = ("demos_sha256", "encoder_identity.compute", "training.bf16")
"""What may be another thing where the same was recorded and trained on another machine."""


class Trial(NamedTuple):
    """The start of a rollout (its options as JSON) and its environment's seed: outcomes pair on both."""

    start: str
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """One `evaluation.json`.

    Attributes:
        name: what of its path tells it from the others.
        training_seed: None where the file does not say.
        settings: dotted name -> value of all that could make the difference, without seeds and paths.
        content: the whole file.
    """

    name: str
    path: Path
    training_seed: int | None
    settings: dict[str, Any]
    content: Mapping[str, Any]

    def result(self, part: str) -> Mapping[str, Any] | None:
        """Successes, trials and outcomes: of the headline (`starts`) or of `random_starts`."""
        return self.content if part == "starts" else self.content["random_starts"]

    def outcomes(self, part: str) -> dict[Trial, Mapping[str, Any]]:
        """The outcome of each trial, in order; none where these were not tried."""
        result = self.result(part)
        return {} if result is None else {_trial(rollout): rollout for rollout in result["rollouts"]}


@dataclass(frozen=True)
class Arm:
    """Evaluations that differ in the training seed alone."""

    name: str
    evaluations: tuple[Evaluation, ...]

    @property
    def settings(self) -> dict[str, Any]:
        return self.evaluations[0].settings

    @property
    def failure_labels(self) -> Sequence[str]:
        """Those of the task."""
        return self.evaluations[0].content["task"]["failure_labels"]

    def table(self, part: str, order: Sequence[Trial]) -> np.ndarray:
        """True and false of shape (training seeds, trials), the trials in this order."""
        tried = [evaluation.outcomes(part) for evaluation in self.evaluations]
        return np.array([[outcomes[trial]["success"] for trial in order] for outcomes in tried], bool)


def read(paths: Sequence[str]) -> list[Evaluation]:
    """The evaluations at these paths: files, or folders that `s2robot evaluate` wrote.

    Raises UserError for a path that is given twice, and for a file that is missing, damaged, no evaluation or
    one of another schema.
    """
    files = [_file(Path(path)) for path in paths]
    for i, file in enumerate(files):
        if file.resolve() in [earlier.resolve() for earlier in files[:i]]:
            raise UserError(f"{file} is given twice: an evaluation is no evidence against itself")
    return [_read(name, file) for name, file in zip(_names(files), files, strict=True)]


def arms(evaluations: Sequence[Evaluation], group: bool, pool: Sequence[str] = ()) -> list[Arm]:
    """In order of appearance; evaluations of the same settings are one arm if their training seeds differ.

    Args:
        group: whether there are arms of several evaluations at all.
        pool: dotted names of settings that may differ within an arm.

    Raises:
        UserError: a name in `pool` that is no setting.
    """
    known = list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.settings))
    for name in pool:
        if name not in known:
            raise unknown("pool", name, known)
    together: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        together.setdefault(_identity(evaluation, pool), []).append(evaluation)
    groups: list[tuple[Evaluation, ...]] = []
    for members in together.values():
        seeds = [evaluation.training_seed for evaluation in members]
        is_arm = group and None not in seeds and len(set(seeds)) == len(seeds)
        groups += [tuple(members)] if is_arm else [(evaluation,) for evaluation in members]
    names = [_arm_name(members) for members in groups]
    return [
        Arm(name if names.count(name) == 1 else members[0].name, members)
        for name, members in zip(names, groups, strict=True)
    ]


def split_by_origin(compared: Sequence[Arm]) -> Iterator[tuple[list[str], list[str]]]:
    """Names of arms, and the settings that alone keep them apart though they only tell of their origin."""
    together: dict[str, list[Arm]] = {}
    for arm in compared:
        if arm.evaluations[0].training_seed is not None:
            together.setdefault(_identity(arm.evaluations[0], ORIGIN), []).append(arm)
    for alike in together.values():
        seeds = [evaluation.training_seed for arm in alike for evaluation in arm.evaluations]
        if len(alike) > 1 and len(set(seeds)) == len(seeds):
            yield [arm.name for arm in alike], list(differing_settings(alike))


def differing_settings(compared: Sequence[Arm], pool: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Dotted name -> its value in each arm, of what is not the same in all and not pooled."""
    names = dict.fromkeys(name for arm in compared for name in arm.settings if name not in pool)
    found = {name: [arm.settings.get(name) for arm in compared] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def fold_sections(settings: Mapping[str, list[Any]], compared: Sequence[Arm]) -> dict[str, list[Any]]:
    """For people: a section that an arm lacks altogether is one line, as `deploy: 14 options`."""
    folded: dict[str, list[Any]] = {}
    for name, values in settings.items():
        section = name.partition(".")[0]
        counts = [sum(n.startswith(f"{section}.") for n in arm.settings) for arm in compared]
        if 0 in counts and any(counts):
            folded[section] = [f"{count} options" if count else None for count in counts]
        else:
            folded[name] = values
    return folded


def _identity(evaluation: Evaluation, pool: Sequence[str]) -> str:
    return sha256_json({name: value for name, value in evaluation.settings.items() if name not in pool})


def _file(path: Path) -> Path:
    file = path / "evaluation.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no evaluation at {path}: expected an evaluation.json, or the folder that holds one")
    return file


def _read(name: str, file: Path) -> Evaluation:
    content = read_evaluation(file)
    config = content["config"]
    settings = {key: value for key, value in _flat(config, "") if not key.startswith(_NO_SETTINGS)}
    evaluation = Evaluation(name, file, (config.get("training") or {}).get("seed"), settings, content)
    for part in ("starts", "random_starts"):
        result = evaluation.result(part)
        if result is not None and len(evaluation.outcomes(part)) != len(result["rollouts"]):
            raise UserError(f"{file} holds two outcomes of the same start and seed: expected one of each")
    return evaluation


def _trial(rollout: Mapping[str, Any]) -> Trial:
    return Trial(json.dumps(rollout["start"]["options"], sort_keys=True), rollout["seed"])


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not (isinstance(value, dict) and value):
        yield name, value
        return
    for key, entry in value.items():
        yield from _flat(entry, f"{name}.{key}" if name else str(key))


def _names(files: Sequence[Path]) -> list[str]:
    """What is left of the paths without the parts that all begin and all end with."""
    plain = [file.parent if file.name == "evaluation.json" else file.with_suffix("") for file in files]
    if len(files) == 1:
        return [plain[0].resolve().name]
    parts = [list(path.resolve().parts) for path in plain]
    for end in (-1, 0):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                part.pop(end)
    return ["/".join(part) for part in parts]


def _arm_name(members: Sequence[Evaluation]) -> str:
    """`s2` of `s2_seed0` and `s2_seed1`."""
    if len(members) == 1:
        return members[0].name
    common = commonprefix([evaluation.name for evaluation in members]).rstrip("_-/. ")  # noqa: RUF071
    return common.removesuffix("seed").rstrip("_-/. ") or members[0].name
