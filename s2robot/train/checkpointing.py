"""What a training leaves behind: checkpoints, the state to resume from, and what is needed to repeat it."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from s2robot.config.options import to_plain
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.data.durable import disk_errors
from s2robot.policy.checkpoint import save_checkpoint
from s2robot.train.demos import Demos
from s2robot.train.init import Init
from s2robot.train.options import TrainOptions
from s2robot.train.resume import differences, learning_rate_goes_on
from s2robot.train.run import Curves, Run
from s2robot.utils.atomic_io import read_json, write_atomic, write_json
from s2robot.utils.distributed import World
from s2robot.utils.hashing import sha256_json
from s2robot.utils.provenance import git_state, machine, versions
from s2robot.utils.state import damage, load_state
from s2robot.vision.features import FeatureExtractor, make_extractor

STATE = "training_state.pt"
RECORD = "run.json"
BEST = "best"
_MEND = "delete it; the training goes on without what it told of earlier sessions"
_STATE_KEYS: dict[str, type] = {"recipe": str, "step": int, "model": dict, "optimiser": dict, "curves": dict}
SCORE = "action/validation"
"""The curve whose lowest point is the best checkpoint, where no rollouts are made."""

_RECIPE = (
    "cameras",
    "filter",
    "mask_idle",
    "augment",
    "encoder",
    "policy",
    "steps",
    "batch_size",
    "lr",
    "warmup",
)
_RECIPE += ("weight_decay", "grad_clip_norm", "ema_decay", "precision", "val_fraction", "seed", "bf16")


def recipe(options: TrainOptions) -> dict[str, Any]:
    """The options that decide the weights."""
    plain, init = to_plain(options), Init.of(options)
    return {name: plain[name] for name in _RECIPE} | ({} if init is None else {"init": init.recipe()})


def identity(options: TrainOptions, demos: Demos) -> str:
    """The hash of options and demos: what a run that is resumed must agree on."""
    return sha256_json([recipe(options), demos.digest])


def checkpoint_settings(
    options: TrainOptions, demos: Demos, extractor: FeatureExtractor, training: Mapping[str, Any]
) -> dict[str, Any]:
    """What a checkpoint says of itself beside its weights; `training` are the options that decided them."""
    paths = [str(source.store) for source in demos.sources]
    named: dict[str, Any] = {"demos": paths[0] if len(paths) == 1 else paths, "episodes": len(demos)}
    named |= _origin(options)
    return {
        "encoder": to_plain(options.encoder),
        "encoder_identity": extractor.identity,
        "bf16": extractor.bf16,
        "env": demos.env,
        "training": {**training, **named},
        "demos_sha256": demos.digest,
        "versions": versions(),
        "git": git_state(),
        "machine": machine(),
    }


def _origin(options: TrainOptions) -> dict[str, Any]:
    """The checkpoint that a training began with: where it was, and its hash."""
    init = Init.of(options)
    return {} if init is None else {"init": {"checkpoint": str(init.folder), **init.recipe()}}


@dataclass(frozen=True)
class Folder:
    """The folder of one training.

    Attributes:
        settings: what a checkpoint says of itself beside its weights.
        frozen: the encoder in words, with its number of parameters.
    """

    out: Path
    spec: RobotSpec
    settings: dict[str, Any]
    frozen: str

    @classmethod
    def of(cls, options: TrainOptions, demos: Demos) -> Folder:
        """The folder that the options name. Raises UserError where `init` is of another encoder or robot."""
        extractor = make_extractor(options.encoder, options.bf16)
        if init := Init.of(options):
            init.check(demos.spec, extractor.identity)
        settings = checkpoint_settings(options, demos, extractor, recipe(options))
        frozen = sum(p.numel() for p in extractor.encoder.parameters())
        name, sizes = options.encoder.name, ", ".join(map(str, options.encoder.sizes))
        words = f"{frozen / 1e6:.2f} M frozen in {name} ({sizes} px)"
        return cls(Path(options.out), demos.spec, settings, words)

    def resume(self, run: Run, options: TrainOptions, demos: Demos) -> str | None:
        """Takes a run to where it was saved last; in a line, what is to be known of a run of more `steps`.

        Raises UserError where what was saved is another training, and says which options and which demos
        differ, or is damaged.
        """
        path = self.out / STATE
        if not path.is_file():
            if (self.out / "model.safetensors").exists() and self._begun() != run.recipe:
                raise UserError(
                    f"{self.out} holds a checkpoint without {STATE} to resume from: give another out="
                )
            return None  # also where the disk was full at the first save
        damaged = f"delete {self.out} and train again, or give another out="
        state = load_state(path, _STATE_KEYS, damaged)
        before = options
        with damage(path, damaged):
            if state["recipe"] != run.recipe:
                before = replace(options, steps=state.get("steps", options.steps))
                if before.steps > options.steps or state["recipe"] != identity(before, demos):
                    differ = differences(self.out / RECORD, recipe(options), demos)
                    raise UserError(
                        f"{self.out} holds another training: {differ}: give the same, or another out="
                    )
            run.model.load_state_dict(state["model"])
            run.optimiser.load_state_dict(state["optimiser"])
            if run.averaged is not None:
                run.averaged.load_state_dict(state["averaged"])
            curves = state["curves"].items()
            run.curves = {str(name): [(int(s), float(v)) for s, v in points] for name, points in curves}
        run.step = state["step"]
        if before is options:
            return None
        return learning_rate_goes_on(run.step, before.steps, options.steps, options.warmup, options.lr)

    def _begun(self) -> str | None:
        """The recipe of the training that was begun here, None where there was none."""
        path = self.out / RECORD
        return read_json(path, _MEND).get("recipe_sha256") if path.is_file() else None

    def save(self, run: Run, keep_best: bool, curves: Curves) -> None:
        """The last checkpoint, the best one where this is it, and last of all the state: it counts them in.

        `curves` are the run's own and others. Raises UserError where the disk refuses; what was saved before
        can be loaded and resumed from.
        """
        with disk_errors(f"save {self.out}"):
            self.save_policy(run, self.out)
            write_json(self.out / "curves.json", curves)
            if keep_best and best_step(run.curves.get(SCORE, [])) == run.step:
                self.save_policy(run, self.out / BEST)
            state = {
                "recipe": run.recipe,
                "steps": self.settings["training"]["steps"],
                "step": run.step,
                "model": run.model.state_dict(),
                "optimiser": run.optimiser.state_dict(),
                "curves": run.curves,
            }
            if run.averaged is not None:
                state["averaged"] = run.averaged.state_dict()
            buffer = io.BytesIO()
            torch.save(state, buffer)
            write_atomic(self.out / STATE, buffer.getvalue())

    def save_policy(self, run: Run, folder: Path) -> None:
        """A checkpoint of the policy as it is now."""
        save_checkpoint(folder, run.kept, self.spec, self.settings)

    def record(self, options: TrainOptions, demos: Demos, run: Run, world: World) -> None:
        """Notes in `run.json` all that is needed to repeat the training, and that it was begun or resumed."""
        path = self.out / RECORD
        sessions = _sessions(read_json(path, _MEND), path) if path.is_file() else []
        session = {
            "from_step": run.step,
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "processes": world.size,
            **{name: self.settings[name] for name in ("versions", "git", "machine")},
        }
        record = {
            "options": to_plain(options),
            "recipe_sha256": run.recipe,
            "seed": options.seed,
            "demos": [source.to_dict() for source in demos.sources],
            "encoder_identity": self.settings["encoder_identity"],
            **_origin(options),
            "sessions": [*sessions, session],
        }
        with disk_errors(f"save {self.out}"):
            write_json(path, record)

    def timed(self, steps: int, seconds: float, waited: float) -> None:
        """Notes how long the session took (s), and for how long of it (s) its steps waited for data."""
        path = self.out / RECORD
        record = read_json(path, _MEND)
        _sessions(record, path)[-1] |= {"steps": steps, "seconds": seconds, "waited": waited}
        with disk_errors(f"save {self.out}"):
            write_json(path, record)


def _sessions(record: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    sessions = record.get("sessions")
    if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
        raise UserError(f"{path} is damaged (sessions={sessions!r}): {_MEND}")
    return sessions


def best_step(scores: list[tuple[int, float]]) -> int | None:
    """The step of the lowest score, the earlier one of equals; None where there is none."""
    return min(scores, key=lambda scored: scored[1])[0] if scores else None
