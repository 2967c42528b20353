"""Pre-training from a source of frames to an encoder that loads, resumed where it stopped."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mistakes import refusal
from safetensors.torch import load_file

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.vision.encoders.mvp import ARCHITECTURES, EMBEDDED, WEIGHTS
from s2robot.vision.encoders.registry import load_encoder
from s2robot.vision.pretrain import command as pretrain
from s2robot.vision.pretrain.command import PretrainOptions
from s2robot.vision.pretrain.mae import MaskedAutoencoder


class Squares:
    """Frames of a coloured square, drawn by seed and index alone: two cameras."""

    def __init__(self, seed: int, image_size: int, wall: Mapping[str, int] | None = None) -> None:
        self._seed, self._size, self._shade = seed, image_size, (wall or {"shade": 120})["shade"]

    def __call__(self, index: int) -> dict[str, np.ndarray]:
        return {name: self._frame(index, camera) for camera, name in enumerate(("front", "wrist"))}

    def _frame(self, index: int, camera: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, index, camera])
        frame = np.full((self._size, self._size, 3), self._shade, np.uint8)
        top, left = rng.integers(self._size // 2, size=2)
        frame[top : top + 12, left : left + 12] = rng.integers(256, size=3)
        return frame


def options(out: Path, *overrides: str) -> PretrainOptions:
    small = ("states=5", "steps=4", "batch_size=2", "warmup=1", "bf16=false", "workers=0", "threads=1")
    source = (
        "source._target_=test_pretrain.Squares",
        "source.image_size=48",
        "+source.wall={shade:120,edge:0}",
    )
    return read_options(PretrainOptions, compose("pretrain", [f"out={out}", *small, *source, *overrides]))


S2 = ("encoder.sizes=[224,448]", "steps=2", "batch_size=1")


def weights(out: Path) -> bytes:
    return (out / "encoder.safetensors").read_bytes()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain") / "encoder"
    pretrain.main(options(out))
    return out


def test_it_ends_in_an_encoder_and_its_card(pretrained: Path) -> None:
    encoder = load_encoder("tiny", pretrained / "encoder.safetensors")
    card = json.loads((pretrained / "card.json").read_text())
    assert card["weights_sha256"] == encoder.weights_sha256
    assert card["name"] == "encoder"
    assert card["views"] == 8
    assert card["recipe"]["seed"] == 0
    assert len(json.loads((pretrained / "losses.json").read_text())) == 4
    state = load_file(pretrained / "encoder.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert card["parameters"] == sum(value.numel() for value in state.values())


@pytest.fixture(scope="module")
def pretrained_with_s2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain") / "s2"
    pretrain.main(options(out, *S2))
    return out


def test_with_s2_it_ends_in_a_plain_vit(pretrained_with_s2: Path, pretrained: Path) -> None:
    card = json.loads((pretrained_with_s2 / "card.json").read_text())
    assert card["recipe"]["sizes"] == [224, 448]
    state, plain = (load_file(out / "encoder.safetensors") for out in (pretrained_with_s2, pretrained))
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in plain.items()}
    assert load_encoder("tiny", pretrained_with_s2 / "encoder.safetensors").weights_sha256


def test_with_s2_it_goes_on_where_it_stopped(
    pretrained_with_s2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_CHECKPOINT_EVERY", 1)
    step = pretrain._step

    def stops_at_the_second(options: PretrainOptions, index: int, *others: Any) -> float:
        if index == 1:
            raise KeyboardInterrupt
        return step(options, index, *others)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain, "_step", stops_at_the_second)
        pretrain.main(options(tmp_path, *S2))
    message = refusal(lambda: pretrain.main(options(tmp_path, *S2, "encoder.sizes=[224]")))
    assert "was made with another sizes ([224, 448], not [224])" in message
    pretrain.main(options(tmp_path, *S2))
    assert weights(tmp_path) == weights(pretrained_with_s2)


@pytest.mark.parametrize("kind", [None, "s2", *EMBEDDED])
def test_the_cards_command_makes_it_again(
    pretrained: Path, pretrained_with_s2: Path, kind: str | None
) -> None:
    made_here = pretrained_with_s2 if kind == "s2" else pretrained
    path = WEIGHTS / f"{kind}.json" if kind in EMBEDDED else made_here / "card.json"
    card = json.loads(path.read_text())
    program, command, *overrides = shlex.split(card["command"])
    assert (program, command) == ("s2robot", "pretrain")
    config = compose(command, overrides)
    given = {**config.encoder, **config}
    again = {k: given[k] for k in card["recipe"]}
    assert again == card["recipe"]
    assert isinstance(again["bf16"], bool), "not left to the machine that makes it again"


def test_training_has_changed_the_encoder(pretrained: Path) -> None:
    torch.manual_seed(0)
    start = MaskedAutoencoder(ARCHITECTURES["tiny"]).encoder.state_dict()
    end = load_file(pretrained / "encoder.safetensors")
    changed = {name for name in end if not torch.equal(end[name], start[name].half())}
    assert changed >= {"cls_token", "patch_embed.proj.weight", "blocks.5.mlp.fc2.weight"}
    assert "pos_embed" not in changed


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_CHECKPOINT_EVERY", 2)
    steps, forward = [], MaskedAutoencoder.forward

    def stops_at_the_fourth(*arguments: Any) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return forward(*arguments)

    monkeypatch.setattr(MaskedAutoencoder, "forward", stops_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main(options(tmp_path))
    assert not (tmp_path / "encoder.safetensors").exists()
    pretrain.main(options(tmp_path))
    assert len(steps) == 4 + 2  # steps 2 and 3 again: step 2 was not saved
    assert weights(tmp_path) == weights(pretrained)
    assert (tmp_path / "losses.json").read_text() == (pretrained / "losses.json").read_text()


def test_a_finished_run_is_not_run_again(pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights(pretrained)
    monkeypatch.setattr(MaskedAutoencoder, "forward", lambda *_: pytest.fail("a step was run"))
    pretrain.main(options(pretrained))
    assert weights(pretrained) == before


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lr=0.5", "another lr (0.001, not 0.5)"),
        ("seed=1", "another seed (0, not 1)"),
        ("states=6", "another states (5, not 6)"),
        ("source.image_size=64", "another image_size (48, not 64)"),
        ("bf16=true", "another bf16 (False, not True)"),
    ],
)
def test_other_options_are_refused_and_what_is_there_stays(
    pretrained: Path, override: str, said: str
) -> None:
    before = weights(pretrained)
    message = refusal(lambda: pretrain.main(options(pretrained, override)))
    assert (
        message == f"{pretrained / 'state.pt'} was made with {said}: give the same options, or another out="
    )
    assert weights(pretrained) == before


def test_an_encoder_without_its_state_is_not_replaced(pretrained: Path, tmp_path: Path) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(weights(pretrained))
    message = refusal(lambda: pretrain.main(options(tmp_path, "lr=0.5")))
    assert message == f"{tmp_path} holds an encoder without state.pt to go on from: give another out="
    assert weights(tmp_path) == weights(pretrained)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=0", "steps=0: expected 1 or more"),
        ("batch_size=0", "batch_size=0: expected 1 or more"),
        ("states=0", "states=0: expected 1 or more"),
        ("warmup=-5", "warmup=-5: expected 0 or more"),
        ("seed=-1", "seed=-1: expected 0 or more"),
        ("decoder_width=30", "decoder_width=30: expected a multiple of 4"),
        *(
            (
                f"encoder.sizes={sizes}",
                f"encoder.sizes={sizes}: expected [224] or, for S², 224 px and multiples of it whose tiles "
                "divide its 14 x 14 patches, such as [224,448]",
            )
            for sizes in ("[448]", "[448, 224]", "[224, 300]", "[224, 672]", "[112, 224]", "[224, 224]")
        ),
    ],
)
def test_numbers_out_of_range_are_refused_at_once(tmp_path: Path, override: str, said: str) -> None:
    assert refusal(lambda: pretrain.main(options(tmp_path / "out", override))) == said
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(lambda: pretrain.main(options(tmp_path / "file")))
    assert message == f"{tmp_path / 'file'} is a file: expected a folder, or another out="


def test_an_unknown_architecture_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    message = refusal(lambda: pretrain.main(options(tmp_path / "out", "encoder.architecture=tinny")))
    assert message.startswith("unknown architecture 'tinny': did you mean 'tiny'?")
    assert not (tmp_path / "out").exists()


def test_a_damaged_state_is_refused(pretrained: Path, tmp_path: Path) -> None:
    state = (pretrained / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(state[: len(state) // 2])
    assert refusal(lambda: pretrain.main(options(tmp_path))).startswith(f"{tmp_path / 'state.pt'} is damaged")


def test_a_state_of_a_former_schema_is_refused(pretrained: Path, tmp_path: Path) -> None:
    state = torch.load(pretrained / "state.pt", weights_only=True)
    del state["schema"]
    torch.save(state, tmp_path / "state.pt")
    message = refusal(lambda: pretrain.main(options(tmp_path)))
    assert message.startswith(f"{tmp_path / 'state.pt'} is of a former schema: delete it")


# Frames


def shards(folder: Path, *overrides: str) -> list[np.ndarray]:
    return [np.load(path) for path in pretrain.render_frames(options(folder, *overrides), folder)]


def test_every_state_gives_one_frame_a_camera_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "SHARD", 2)
    made = shards(tmp_path)
    assert [len(shard) for shard in made] == [4, 4, 2]
    source = Squares(seed=0, image_size=48)
    expected = [frame for index in range(5) for frame in source(index).values()]
    assert np.array_equal(np.concatenate(made), np.stack(expected))


def test_frames_are_the_same_in_another_process(tmp_path: Path) -> None:
    here, there = shards(tmp_path / "here"), shards(tmp_path / "there", "workers=1")
    assert [a.tobytes() for a in here] == [b.tobytes() for b in there]


def test_frames_that_are_there_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "SHARD", 2)
    paths = pretrain.render_frames(options(tmp_path), tmp_path)
    paths[1].unlink()
    before = {path: path.stat().st_mtime_ns for path in (paths[0], paths[2])}
    assert pretrain.render_frames(options(tmp_path), tmp_path) == paths
    assert paths[1].is_file()
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_more_states_do_not_make_do_with_a_shard_of_fewer(tmp_path: Path) -> None:
    assert len(np.concatenate(shards(tmp_path))) == 2 * 5
    assert len(np.concatenate(shards(tmp_path, "states=8"))) == 2 * 8


@pytest.mark.parametrize("size", [16, 48, 96])
def test_batches_are_views_of_the_frames_drawn_by_the_generator(tmp_path: Path, size: int) -> None:
    frames = pretrain.Frames(pretrain.render_frames(options(tmp_path), tmp_path))
    assert len(frames) == 10
    batch, again = (frames.batch(30, size, np.random.default_rng(0)) for _ in range(2))
    assert batch.shape == (30, 3, size, size)
    assert batch.min() >= 0 and batch.max() <= 1
    assert torch.equal(batch, again)
    assert not torch.equal(batch, frames.batch(30, size, np.random.default_rng(1)))


def test_a_shard_that_was_cut_short_is_named(tmp_path: Path) -> None:
    [shard] = pretrain.render_frames(options(tmp_path), tmp_path / "frames")
    shard.write_bytes(shard.read_bytes()[:-100])
    assert refusal(lambda: pretrain.main(options(tmp_path))).startswith(f"{shard} is damaged")
