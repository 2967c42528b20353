"""One training on one process and on several: as many epochs each, and the ends of their curves compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_loop

SMALL = [o for o in toy_loop.TRAIN if not o.startswith("steps=")]


def processes(store: Path, out: Path, *options: str) -> tuple[str, ...]:
    train = ",".join(f'"{option}"' for option in (*SMALL, "cameras=[front]", *options))
    return "bench", "processes", f"demos={store}", f"out={out}", f"training=[{train}]", "processes.epochs=2"


@pytest.mark.slow
def test_the_curves_of_both_are_kept_and_compared(toy_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    assert toy_loop.s2robot(*processes(toy_store, out, "policy.pooling_dropout=0", "val_fraction=0.25")) == 0
    result = json.loads(out.read_text())
    batch = next(int(o.removeprefix("batch_size=")) for o in SMALL if o.startswith("batch_size="))
    assert result["steps"] == 2 * -(-result["windows"] // batch)
    one, two = result["runs"]["1"], result["runs"]["2"]
    assert one["seconds"] > 0 and two["seconds"] > 0
    assert one["curves"]["total/train"][-1][0] == two["curves"]["total/train"][-1][0] == result["steps"]
    assert result["differences"].keys() == {"2"}
    assert result["differences"]["2"].keys() == one["curves"].keys()
    assert max(result["differences"]["2"].values()) < 0.02


@pytest.mark.slow
def test_a_training_that_fails_is_told(
    toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = processes(toy_store, tmp_path / "bench.json", "lr=1e30")
    assert "training on 1 processes failed" in toy_loop.refusal(capsys, *command, "processes.counts=[1]")
    assert not (tmp_path / "bench.json").exists()
