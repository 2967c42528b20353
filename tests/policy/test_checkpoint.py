"""A policy as a folder: the same policy comes back, or one line says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from toy_loop import refusal

from envs.toy import Toy
from s2robot.core.errors import UserError
from s2robot.core.rollout import run_episode
from s2robot.policy.checkpoint import (
    FILES,
    checkpoint_sha256,
    load_policy,
    read_config,
    save_checkpoint,
)
from s2robot.policy.config import PolicyConfig
from s2robot.policy.normalize import Statistics
from s2robot.policy.policy import ChunkExecutor, Policy
from s2robot.policy.trunks.transformer import Transformer
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.precision import compute_name
from s2robot.vision.features import make_extractor

ENCODER = {"name": "random-tiny", "architecture": "tiny", "checkpoint": None, "sizes": [64]}


@pytest.fixture(scope="module")
def made() -> tuple[Policy, dict[str, Any]]:
    """An untrained policy for the toy, and the settings of its checkpoint."""
    torch.manual_seed(0)
    extractor = make_extractor(EncoderOptions.of(ENCODER), bf16=False)
    config = PolicyConfig(
        cameras=dict.fromkeys(("front", "wrist"), extractor.map_shape()),
        proprio_dim=4,
        action_dim=4,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
    )
    statistics = [Statistics(np.full(4, mean), np.array([0.1, 0.2, 0.3, 0.4])) for mean in (0.1, 0.02)]
    policy = Policy(Transformer(config, *statistics), extractor, Toy().robot_spec)
    settings = {"encoder": ENCODER, "encoder_identity": extractor.identity, "bf16": False, "env": None}
    return policy, settings


@pytest.fixture
def folder(made: tuple[Policy, dict[str, Any]], tmp_path: Path) -> Path:
    policy, settings = made
    save_checkpoint(tmp_path / "policy", policy.model, policy.spec, settings)
    return tmp_path / "policy"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


class Listener(ChunkExecutor):
    def reset(self) -> None:
        super().reset()
        self.taken: list[np.ndarray] = []

    def act(self, observation: Any) -> np.ndarray:
        self.taken.append(super().act(observation))
        return self.taken[-1]


def rollout(policy: Policy) -> np.ndarray:
    listener = Listener(policy, n_action_steps=3)
    run_episode(Toy(max_steps=8), listener, seed=0)
    return np.stack(listener.taken)


def one_line(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_policy(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_same_policy_comes_back_bit_for_bit(made: tuple[Policy, dict[str, Any]], folder: Path) -> None:
    back = load_policy(folder)
    assert back.spec == made[0].spec
    assert back.model.config == made[0].model.config
    assert rollout(back).tobytes() == rollout(made[0]).tobytes()


def test_a_checkpoint_is_safetensors_yaml_and_json(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert safetensors.torch.load((folder / "model.safetensors").read_bytes())
    statistics = yaml.safe_load((folder / "stats.json").read_text())
    np.testing.assert_allclose(statistics["proprio"]["mean"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(statistics["action"]["std"], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_saving_again_gives_the_same_bytes(made: tuple[Policy, dict[str, Any]], folder: Path) -> None:
    before = checkpoint_sha256(folder)
    save_checkpoint(folder, made[0].model, made[0].spec, made[1])
    assert checkpoint_sha256(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_the_hash_tells_a_change_of_any_file(folder: Path, name: str) -> None:
    before = checkpoint_sha256(folder)
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert checkpoint_sha256(folder) != before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_checkpoints_nearby(folder: Path, name: str) -> None:
    shutil.copytree(folder, folder.parent / "neighbour")
    (folder / name).unlink()
    said = one_line(folder)
    assert f"no checkpoint at {folder}: {name} missing" in said
    assert "neighbour" in said


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert "checkpoints in" in one_line(tmp_path / "nowhere" / "policy")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_weights_that_are_cut_short(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"{path} is no readable safetensors file" in one_line(folder)


@pytest.mark.parametrize("content", [b"\0" * 100, b"\xff" * 100, b"PK\x03\x04 a zip", b"\x80\x02}."])
def test_weights_that_are_something_else(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "is no readable safetensors file" in one_line(folder)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("width", 32),
        ("trunk_options", {"depth": 2, "heads": 2}),
        ("chunk_size", 8),
        ("action_dim", 8),
        ("cameras", {"front": [7, 7, 192], "wrist": [7, 7, 192]}),
    ],
)
def test_weights_of_other_dimensions(folder: Path, option: str, value: Any) -> None:
    edit(folder, lambda config: config["policy"].update({option: value}))
    assert "is of other dimensions than its config.yaml says" in one_line(folder)


def test_a_tensor_too_many_and_one_too_few(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load(path.read_bytes())
    safetensors.torch.save_file(state | {"stowaway": torch.zeros(1)}, path)
    assert "stowaway" in one_line(folder)
    safetensors.torch.save_file({k: v for k, v in state.items() if k != "head.bias"}, path)
    assert "head.bias" in one_line(folder)


def test_another_encoder_than_the_one_it_was_trained_on(folder: Path) -> None:
    edit(folder, lambda config: config["encoder_identity"].update(weights_sha256="0" * 64))
    assert f"{folder} was trained on features of" in one_line(folder)
    assert "random-tiny here gives" in one_line(folder)


def test_other_scales_and_another_compute_type_are_another_encoder(folder: Path) -> None:
    edit(folder, lambda config: config["encoder_identity"].update(compute="fp16"))
    assert "was trained on features of" in one_line(folder)
    edit(folder, lambda config: config.update(encoder=config["encoder"] | {"sizes": [64, 128]}))
    assert "was trained on features of" in one_line(folder)


@pytest.mark.parametrize("has_bf16", [True, False])
@pytest.mark.parametrize("compute", ["bf16", compute_name(True, "torch"), compute_name(True, "openvino")])
def test_a_policy_trained_on_bf16_acts_where_the_processor_has_none(
    folder: Path, has_bf16: bool, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2robot.policy.checkpoint.has_bf16", lambda: has_bf16)
    edit(folder, lambda config: config.update(bf16=True))
    edit(folder, lambda config: config["encoder_identity"].update(compute=compute))
    assert load_policy(folder).extractor.bf16 is has_bf16


def test_where_an_engine_is_missing_torch_computes_what_it_was_trained_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("s2robot.vision.features.has_engine", lambda engine: engine == "torch")
    edit(folder, lambda config: config["encoder"].update(engine="openvino"))
    edit(folder, lambda config: config["encoder_identity"].update(compute="fp32 by openvino"))
    assert load_policy(folder).extractor.engine == "torch"
    assert capsys.readouterr().out == "engine=openvino is not installed here: torch computes the features\n"


def test_an_encoder_that_is_not_there(folder: Path) -> None:
    edit(folder, lambda config: config["encoder"].update(name="mvp-tyni-sim"))
    assert "unknown encoder 'mvp-tyni-sim': did you mean 'mvp-tiny-sim'?" in one_line(folder)


def test_a_configuration_that_lacks_something(folder: Path) -> None:
    edit(folder, lambda config: config.pop("encoder"))
    assert f"{folder}/config.yaml is damaged: it lacks encoder" in one_line(folder)


@pytest.mark.parametrize("section", ["policy", "robot_spec", "encoder", "encoder_identity"])
def test_a_section_that_is_none(folder: Path, section: str) -> None:
    edit(folder, lambda config: config.update({section: None}))
    assert f"{folder}/config.yaml is damaged: {section} should be sections" in one_line(folder)


def test_a_policy_that_no_memory_holds(folder: Path) -> None:
    edit(folder, lambda config: config["policy"].update(proprio_dim=10**28))
    assert f"{folder}/config.yaml describes a policy that cannot be made: " in one_line(folder)


def test_a_policy_of_layers_without_end(folder: Path) -> None:
    edit(folder, lambda config: config["policy"]["trunk_options"].update(depth=10**100))
    assert "depth" in one_line(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "just text",
        "format: 1",
        "schema: 99",
        "- 1\n- 2",
        "\0",
        "\xff",
        "a: 2026-99-99",
        "[" * 5000,
    ],
)
def test_a_damaged_configuration_or_one_of_another_format(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_bytes(text.encode("latin-1"))
    assert f"{folder}/config.yaml is" in one_line(folder)


def test_a_configuration_cannot_run_code(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (folder / "config.yaml").write_text(f"!!python/object/apply:pathlib.Path.touch [{mark}]")
    assert "is damaged" in one_line(folder)
    assert not mark.exists()


def test_an_option_it_does_not_know(folder: Path) -> None:
    edit(folder, lambda config: config["policy"].update(widht=3))
    assert "unknown policy option 'widht'" in one_line(folder)


def test_what_else_is_known_is_kept(made: tuple[Policy, dict[str, Any]], tmp_path: Path) -> None:
    policy, settings = made
    save_checkpoint(
        tmp_path / "p", policy.model, policy.spec, settings | {"training": {"seed": 3, "lr": 1e-3}}
    )
    assert read_config(tmp_path / "p")["training"] == {"seed": 3, "lr": 1e-3}


def test_a_trained_checkpoint_loads_without_what_only_resuming_needs(
    toy_checkpoint: Path, tmp_path: Path
) -> None:
    for name in FILES:
        shutil.copy(toy_checkpoint / name, tmp_path)
    assert rollout(load_policy(tmp_path)).tobytes() == rollout(load_policy(toy_checkpoint)).tobytes()


def test_the_command_line_says_it_in_one_line(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(toy_checkpoint, tmp_path / "policy")
    (tmp_path / "policy" / "model.safetensors").write_bytes(b"nothing")
    arguments = f"checkpoint={tmp_path / 'policy'}", f"out={tmp_path / 'out'}", "starts=1", "workers=0"
    assert "is no readable safetensors file" in refusal(capsys, "evaluate", *arguments)
    assert not (tmp_path / "out").exists()
