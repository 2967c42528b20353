"""A policy as a folder: `model.safetensors`, `config.yaml`, `stats.json`. No pickle; loaded strictly.

Torch is imported where weights are read or written: finding a checkpoint and reading its config need none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from s2robot.core.errors import UserError
from s2robot.core.spec import RobotSpec
from s2robot.policy.config import PolicyConfig
from s2robot.utils.atomic_io import write_atomic, write_json
from s2robot.utils.hashing import sha256_folder
from s2robot.utils.provenance import has_bf16

if TYPE_CHECKING:
    from s2robot.policy.model import PolicyModel
    from s2robot.policy.policy import Policy

FILES = ("model.safetensors", "config.yaml", "stats.json")
_SCHEMA = 3
_OWN = ("schema", "policy", "robot_spec")  # what the model and the spec say
_SECTIONS = ("policy", "robot_spec", "encoder", "encoder_identity")
_REQUIRED = (*_SECTIONS, "bf16", "env")


def save_checkpoint(folder: Path, model: PolicyModel, spec: RobotSpec, settings: dict[str, Any]) -> None:
    """Writes each file whole or not at all.

    Args:
        settings: `encoder` (as in `configs/encoder/`), `encoder_identity`, `bf16`, `env`, and the training's.
    """
    from safetensors.torch import save

    statistics = {
        "proprio": model.proprio_normalizer.statistics.to_dict(),
        "action": model.action_normalizer.statistics.to_dict(),
    }
    config = {
        "schema": _SCHEMA,
        "policy": model.config.to_dict(),
        "robot_spec": spec.to_dict(),
        **settings,
    }
    write_json(folder / "stats.json", statistics)
    write_atomic(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", save(state))


def find_checkpoint(path: str | Path) -> Path:
    """The folder of the checkpoint: the path itself, or the one folder in it that holds one.

    Raises UserError where there is none, several are inside, or files of it are missing.
    """
    folder = Path(path)
    if not any((folder / name).is_file() for name in FILES):
        inside = _checkpoints_in(folder)
        if len(inside) > 1:
            raise UserError(f"{folder} holds several checkpoints, name one: {', '.join(map(str, inside))}")
        folder = inside[0] if inside else folder
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        found = [place.name for place in _checkpoints_in(folder.parent)]
        raise UserError(
            f"no checkpoint at {folder}: {', '.join(missing)} missing; "
            f"checkpoints in {folder.parent}: {', '.join(found) or '(none)'}"
        )
    return folder


def _checkpoints_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/model.safetensors"))


def read_config(folder: str | Path) -> dict[str, Any]:
    """`config.yaml` of a checkpoint (`find_checkpoint`). Raises UserError where there is none.

    Its environment, if any, names nothing but what is trusted (`s2robot.config.targets`).
    """
    folder = find_checkpoint(folder)
    try:
        config = yaml.safe_load((folder / "config.yaml").read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{folder}/config.yaml is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict) or config.get("schema") != _SCHEMA:
        raise UserError(f"{folder}/config.yaml is no checkpoint of schema {_SCHEMA}: train the policy again")
    if absent := [key for key in _REQUIRED if key not in config]:
        raise UserError(f"{folder}/config.yaml is damaged: it lacks {', '.join(absent)}")
    if odd := [key for key in _SECTIONS if not isinstance(config[key], dict)]:
        raise UserError(f"{folder}/config.yaml is damaged: {', '.join(odd)} should be sections")
    return config


def load_policy(folder: str | Path) -> Policy:
    """The policy, ready to act.

    Args:
        folder: what `s2robot train` wrote, or the folder that holds it (`runs/quickstart`).

    Raises UserError where files are missing or damaged, weights are of other dimensions than the config
    says, or the encoder is not the one it was trained on. Features that were bf16 in training may be float32,
    where the processor is no quicker in bf16, and either by another engine, where that of the training is
    not installed.

    Examples:
        >>> policy = s2robot.load_policy("runs/policy")
        >>> list(policy.spec.cameras), policy.chunk_size
        (['front', 'wrist'], 16)
        >>> env = s2robot.make_env("toy")
        >>> observation, info = env.reset(seed=0)
        >>> policy.act(observation).shape
        (4,)
    """
    from s2robot.policy.policy import Policy
    from s2robot.vision.encoders.precision import may_stand_for
    from s2robot.vision.features import make_recorded_extractor

    folder = find_checkpoint(folder)
    config = read_config(folder)
    model = load_model(folder, PolicyConfig.from_dict(config["policy"]))
    extractor = make_recorded_extractor(config["encoder"], config["bf16"] and has_bf16())
    trained, here = config["encoder_identity"], extractor.identity["compute"]
    near = may_stand_for(here, str(trained.get("compute")))
    if extractor.identity != trained | ({"compute": here} if near else {}):
        raise UserError(
            f"{folder} was trained on features of {trained}, "
            f"but encoder {config['encoder']['name']} here gives {extractor.identity}"
        )
    settings = {name: value for name, value in config.items() if name not in _OWN}
    return Policy(model, extractor, RobotSpec.from_dict(config["robot_spec"]), settings)


def load_model(folder: Path, config: PolicyConfig) -> PolicyModel:
    """A checkpoint's weights in a model of this config. Raises UserError where they do not fit."""
    from s2robot.policy.model import make_model

    try:
        model = make_model(config)
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}/config.yaml describes a policy that cannot be made: {reason}") from error
    _load_strictly(model, folder / "model.safetensors")
    return model


def checkpoint_sha256(folder: str | Path) -> str:
    """The hash of a checkpoint's files (`find_checkpoint`)."""
    return sha256_folder(find_checkpoint(folder), FILES)


def _load_strictly(model: PolicyModel, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(path.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from error
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:])[:200]
        raise UserError(f"{path} is of other dimensions than its config.yaml says: {detail}") from error
