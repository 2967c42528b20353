"""An encoder that knows only our simulator is named where frames are from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_loop

from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.foreign import foreign_frames


@pytest.mark.parametrize(
    ("name", "env", "told"),
    [
        ("mvp-tiny-sim", None, True),
        ("mvp-tiny-sim", "envs.toy.Toy", True),
        ("mvp-tiny-sim", "envs.cube_pick.CubePick", False),
        ("random-tiny", None, False),
    ],
)
def test_an_encoder_of_our_simulator_alone_is_named_where_frames_are_from_elsewhere(
    name: str, env: str | None, told: bool
) -> None:
    said = foreign_frames(EncoderOptions(name, (224,)), {"_target_": env} if env else None, "imported")
    assert (said is not None) == told
    assert said is None or "encoder=dinov2-small was trained on real images" in said


def test_encode_says_so(toy_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("encoder.sizes=[32]", f"features={tmp_path}", "workers=0", "bf16=false")
    assert toy_loop.s2robot("encode", f"demos={toy_store}", *options) == 0
    told = f"on frames of our own simulator alone, and {toy_store} has others"
    assert capsys.readouterr().out.count(told) == 1
