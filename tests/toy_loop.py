"""The loop on the toy environment, as its command line runs it, with everything small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2robot import cli
from s2robot.core.spec import GripperSpec
from s2robot.data.dataset import EpisodeFeatures

ENCODER = ("encoder.name=random-tiny", "encoder.sizes=[64]", "bf16=false")
TRAIN = (
    *ENCODER,
    *(
        "policy.width=32",
        "policy.transformer.depth=1",
        "policy.transformer.heads=2",
        "encode_workers=0",
        "threads=1",
    ),
    *("steps=12", "batch_size=4", "warmup=2", "log_every=1", "checkpoint_every=6", "report=false"),
)


def s2robot(*arguments: object) -> int:
    """What the command line returns."""
    return cli.main([str(a) for a in arguments])


def record(out: Path, episodes: int = 4, *options: str) -> Path:
    """A demo store of the toy expert."""
    assert (
        s2robot(
            "record", "env=toy", "expert=toy", f"out={out}", f"episodes={episodes}", "workers=0", *options
        )
        == 0
    )
    return out


def training(demos: Path, out: Path, *options: str) -> list[str]:
    """The arguments that train a small policy on a store."""
    return ["train", f"demos={demos}", f"out={out}", *TRAIN, *options]


def train(demos: Path, out: Path, *options: str) -> Path:
    """Trains, and gives the checkpoint."""
    assert s2robot(*training(demos, out, *options)) == 0
    return out


def curves(checkpoint: Path) -> dict[str, list[tuple[int, float]]]:
    return json.loads((checkpoint / "curves.json").read_text())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which the command line ends, as a user's mistake must."""
    capsys.readouterr()
    assert s2robot(*arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    command = " ".join(map(str, arguments[: 2 if arguments[0] in cli.FAMILIES else 1]))
    said = [line for line in captured.err.splitlines() if line.startswith(f"s2robot {command}: ")]
    assert said == captured.err.splitlines()[-1:], captured.err
    return said[0]


def made_episode(length: int = 20, seed: int = 0, **arrays: Any) -> EpisodeFeatures:
    """An episode of noise, with a camera of 4 patches; action and proprioception tell their step."""
    rng = np.random.default_rng(seed)
    made = {
        "features": {"front": rng.standard_normal((length, 5, 6)).astype(np.float16)},
        "proprio": np.arange(length * 3, dtype=np.float32).reshape(length, 3),
        "action": np.arange(1, 1 + length * 2, dtype=np.float32).reshape(length, 2),
        "action_loss_mask": np.ones(length, bool),
        "shapes": {"front": (2, 2, 6)},
        "grippers": (GripperSpec(index=1, open=-1.0, closed=1.0),),
    }
    return EpisodeFeatures(**(made | arrays))
