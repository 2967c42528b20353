"""What every import has in common: options that count or are refused, broken episodes, success."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_loop
from kill_writer import SPEC, made_episode
from replay_buffers import foreign

from s2robot.data.store import DemoStore

ENDS = (4, 9, 15)


def arrays(**changed: np.ndarray) -> dict[str, np.ndarray]:
    """Three episodes."""
    rng = np.random.default_rng(0)
    made = {
        "img": rng.integers(0, 256, (ENDS[-1], 8, 10, 3), dtype=np.uint8),
        "state": rng.standard_normal((ENDS[-1], 2), np.float32),
        "action": rng.standard_normal((ENDS[-1], 3), np.float32),
        "timestamp": np.concatenate([np.arange(n) / 10 for n in np.diff(ENDS, prepend=0)]),
    }
    return made | changed


def imported(source: Path, *options: str) -> DemoStore:
    out = source.with_suffix(".store")
    arguments = ("import", "format=diffusion_policy", f"demos={source}", f"out={out}", *options)
    assert toy_loop.s2robot(*arguments) == 0
    return DemoStore.open(out)


def refused(capsys: pytest.CaptureFixture[str], source: Path, *options: str) -> str:
    out = source.with_suffix(".refused")
    message = toy_loop.refusal(
        capsys, "import", "format=diffusion_policy", f"demos={source}", f"out={out}", *options
    )
    assert not out.exists()
    return message


def exported(tmp_path: Path) -> Path:
    """A replay buffer that states everything itself."""
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=5))
    out = tmp_path / "ours.zarr"
    assert toy_loop.s2robot("export", "format=diffusion_policy", f"demos={store.path}", f"out={out}") == 0
    return out


# Broken episodes


@pytest.mark.parametrize(
    ("name", "step", "value", "expected"),
    [
        ("action", 5, np.nan, "action[1] 'action[0]' is nan: expected finite numbers"),
        ("timestamp", 6, -1.0, "time[2] is -1.0 s after 0.1 s: time must not decrease"),
    ],
)
def test_a_broken_episode_is_set_aside_by_name_and_the_others_are_imported(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    step: int,
    value: float,
    expected: str,
) -> None:
    made = arrays()
    made[name][step] = value
    source = foreign(tmp_path / "a.zarr", ENDS, **made)
    store = imported(source, "rate=10")
    said = capsys.readouterr().out
    assert f"  set aside: episode 1: {expected}\n" in said
    assert "2 demos, 10 steps" in said
    np.testing.assert_array_equal(store.episode("000001").action, made["action"][9:])
    assert f"episode 1: {expected}" in refused(capsys, source, "rate=10", "strict=true")


def test_a_frame_that_cannot_be_read_breaks_its_own_episode_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, chunk=1, **arrays())
    (source / "data" / "img" / "5.0.0.0").write_bytes(b"no frame")
    assert imported(source, "rate=10").ids() == ["000000", "000001"]
    assert "  set aside: episode 1: cannot read data/img of" in capsys.readouterr().out


def test_where_all_episodes_are_broken_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = foreign(tmp_path / "a.zarr", ENDS, **arrays(state=np.full((15, 2), np.inf)))
    message = refused(capsys, source, "rate=10")
    assert "no episode can be imported: episode 0: proprio[0] 'state[0]' is inf" in message
    assert message.endswith("(so are 2 others)")


# Options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["rate=25"], "states 10 Hz: leave rate= out"),
        (["rate=nan"], "rate=NaN: expected a finite number"),
        (
            ["image_size=64"],
            "image_size=64: format=diffusion_policy has no such option; it has rate, proprio",
        ),
        (["cameras=[fornt]"], "unknown camera 'fornt': did you mean 'front'?"),
        (["action=[action]"], "format=diffusion_policy has no such option"),
    ],
)
def test_what_the_file_states_itself_is_not_silently_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert expected in refused(capsys, exported(tmp_path), *options)


def test_options_that_agree_or_choose_are_applied(tmp_path: Path) -> None:
    store = imported(exported(tmp_path), "rate=10", "cameras=[wrist]")
    assert list(store.spec.cameras) == ["wrist"]
    np.testing.assert_array_equal(
        store.episode("000000").images("wrist"), made_episode(0, 0, steps=5).images["wrist"]
    )


@pytest.mark.parametrize("success", ["true", "false", "null"])
def test_success_can_be_said_at_import_and_is_unknown_otherwise(tmp_path: Path, success: str) -> None:
    store = imported(foreign(tmp_path / "a.zarr", ENDS, **arrays()), "rate=10", f"success={success}")
    expected = {"true": True, "false": False, "null": None}[success]
    assert [e.attributes.get("success") for e in store.episodes()] == [expected] * 3


def test_an_export_option_of_another_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path)
    arguments = ("export", f"demos={tmp_path / 'demos'}", f"out={tmp_path / 'films'}", "format=mp4")
    message = toy_loop.refusal(capsys, *arguments, "frames_per_chunk=4")
    assert "frames_per_chunk=4: format=mp4 has no such option; it has none of these options" in message
