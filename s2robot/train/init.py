"""Fine-tuning: a training that begins with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from s2robot.config.overrides import as_override
from s2robot.config.trust import check_trusted
from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.policy.checkpoint import checkpoint_sha256, find_checkpoint, load_model, read_config
from s2robot.policy.config import PolicyConfig, PolicyOptions
from s2robot.policy.model import PolicyModel
from s2robot.train.options import TrainOptions
from s2robot.utils.provenance import has_bf16
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.precision import may_stand_for
from s2robot.vision.foreign import default_encoder

_OF_TRAINING = (
    *("pooling_dropout", "action_dropout", "action_noise", "proprio_noise", "proprio_dropout"),
    *("visual_dropout", "dropout"),
)
"""Options of a policy by which it is trained and not built: a fine-tuning may have others."""
_LAYOUT = ("proprio", "action", "action_space", "rate", "grippers")


@dataclass(frozen=True)
class Init:
    """The checkpoint that a training begins with.

    Attributes:
        folder: of the checkpoint.
        refits: whether the statistics are those of the new demos instead of the checkpoint's.
    """

    folder: Path
    refits: bool

    @classmethod
    def of(cls, options: TrainOptions) -> Init | None:
        """What the options name. Raises UserError where that is none, or lies in `out`."""
        if options.init is None:
            return None
        folder, out = find_checkpoint(options.init).resolve(), Path(options.out).resolve()
        if folder.is_relative_to(out):
            raise UserError(
                f"init={options.init} lies in out={options.out}, which is written: give another out="
            )
        return cls(folder, options.init_statistics == "refit")

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the checkpoint says of itself."""
        return read_config(self.folder)

    def recipe(self) -> dict[str, Any]:
        """What decides the weights."""
        return {"sha256": checkpoint_sha256(self.folder), "statistics": "refit" if self.refits else "keep"}

    def model(self, config: PolicyConfig) -> PolicyModel:
        """The checkpoint's model, under the options of this training.

        Raises UserError where the checkpoint's is built otherwise, and names what differs.
        """
        found = list(_differences(_build(self.config["policy"]), _build(config.to_dict()), "policy"))
        if found:
            raise UserError(f"{self.folder} is another policy: {'; '.join(found)}")
        return load_model(self.folder, config)

    def check(self, spec: RobotSpec, encoder_identity: Mapping[str, Any]) -> None:
        """Raises UserError where demos, cameras or encoder are not the checkpoint's; says what differs."""
        trained = RobotSpec.from_dict(self.config["robot_spec"])
        pairs = [(name, getattr(trained, name), getattr(spec, name)) for name in _LAYOUT]
        pairs.append(("cameras", tuple(trained.cameras), tuple(spec.cameras)))
        found = [f"{name} {_shown(old)} -> {_shown(new)}" for name, old, new in pairs if old != new]
        identity = dict(self.config["encoder_identity"])
        here = encoder_identity.get("compute")
        if may_stand_for(str(here), str(identity.get("compute"))):  # as in `load_policy`
            identity["compute"] = here
        if different := list(_differences(identity, encoder_identity, "encoder")):
            found.append(f"encoder {self.config['encoder']['name']}: {'; '.join(different)}")
        if found:
            raise UserError(f"{self.folder} was trained on others: {'; '.join(found)}")

    def __str__(self) -> str:
        how = "refitted to these demos" if self.refits else "kept (init_statistics=refit takes these demos')"
        return f"begins with the weights of {self.folder}; its normalisation is {how}"


def with_defaults(options: TrainOptions, overrides: Sequence[str]) -> TrainOptions:
    """The options, whose `encoder`, `policy` and `cameras` are those of `init` where nobody chose others.

    Without `init` the encoder is the one for where the demos are from (`default_encoder`).
    """
    init = Init.of(options)
    if init is None:
        return replace(options, encoder=default_encoder(options.encoder, options.demos, overrides))
    given = {tuple(text.lstrip("+").partition("=")[0].split(".")) for text in overrides}
    sections = {name[0] for name in given}
    if "encoder" not in sections:
        check_trusted(init.config["encoder"])
        options = replace(options, encoder=EncoderOptions.of(init.config["encoder"]))
        if "bf16" not in sections:
            options = replace(options, bf16=init.config["bf16"] and has_bf16())
    if "cameras" not in sections:
        options = replace(options, cameras=tuple(init.config["policy"]["cameras"]))
    if ("policy",) not in given:
        chosen = {name[1] for name in given if name[0] == "policy"}
        options = replace(options, policy=_inherited(options.policy, init.config["policy"], chosen))
    return options


def _inherited(own: PolicyOptions, recorded: Mapping[str, Any], chosen: set[str]) -> PolicyOptions:
    """The recorded options but for those that are chosen; a trunk's and a head's are chosen together."""
    known = PolicyConfig.from_dict(recorded)
    sections = {"trunk_options": own.trunk, "head_options": own.head}
    names = {f.name for f in fields(PolicyOptions)} - chosen
    return replace(own, **{n: getattr(known, n) for n in names if sections.get(n) not in chosen})


def _build(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the parts of a policy and how they compute."""
    plain = {name: value for name, value in policy.items() if name not in _OF_TRAINING}
    trunk = {name: value for name, value in plain["trunk_options"].items() if name not in _OF_TRAINING}
    return plain | {"trunk_options": trunk, "grasp_weight": plain["grasp_weight"] > 0}


def _differences(before: Any, now: Any, name: str) -> Iterator[str]:
    """`policy.width 32 -> 64`, one for each value that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}")
    elif before != now:
        yield f"{name} {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]  # a hash
    return as_override(list(map(_shown, value)) if isinstance(value, tuple) else value)
