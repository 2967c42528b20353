"""The pipe to lerobot's own environment, and (slow) lerobot itself at its other end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import toy_loop
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from kill_writer import SPEC, made_episode
from mistakes import refusal

from s2robot.data.store import DemoStore
from s2robot.integrations.lerobot.bridge import receive, send
from s2robot.integrations.lerobot.environment import lerobot_python
from s2robot.integrations.lerobot.process import Bridge

TESTS = Path(__file__).parents[1]

# The pipe

numbers = st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.bool_])
shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
messages = st.dictionaries(
    st.text(max_size=5), numbers.flatmap(lambda d: arrays.arrays(d, shapes)), max_size=3
)


@settings(max_examples=30)
@given(sent=st.lists(messages, max_size=3))
def test_messages_arrive_as_they_were_sent(sent: list[dict[str, np.ndarray]]) -> None:
    stream = io.BytesIO()
    for n, message in enumerate(sent):
        send(stream, {"n": n}, message)
    stream.seek(0)
    for n, message in enumerate(sent):
        received = receive(stream)
        assert received is not None
        assert received[0] == {"n": n}
        assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in received[1].items()} == {
            name: (a.dtype, a.shape, a.tobytes()) for name, a in message.items()
        }
    assert receive(stream) is None


def test_a_message_larger_than_a_pipe_arrives() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as source, os.fdopen(ends[1], "wb") as target:
        writer = threading.Thread(target=send, args=(target, {}, {"frames": frames[::2, ::-1]}))
        writer.start()
        received = receive(source)
        writer.join()
    assert received is not None
    np.testing.assert_array_equal(received[1]["frames"], frames[::2, ::-1])


def test_a_message_that_is_cut_short_is_an_error() -> None:
    stream = io.BytesIO()
    send(stream, {}, {"a": np.ones(9)})
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:-1]))


def test_what_ends_the_other_side_is_told_in_one_line(tmp_path: Path) -> None:
    """Our own Python has no lerobot, which it says at once."""

    def ask() -> None:
        with Bridge(Path(sys.executable), "windows", tmp_path) as bridge:
            while True:
                bridge.ask({"size": 2}, {"a": np.ones(100_000)})

    assert refusal(ask) == "lerobot failed: ModuleNotFoundError: No module named 'lerobot'"


# The environment


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's environments."""
    if "slow" not in request.keywords:
        monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / "cache"))


def test_an_environment_without_lerobot_is_refused(tmp_path: Path) -> None:
    assert "does not find it" in refusal(lambda: lerobot_python(str(tmp_path), None))
    assert "does not find it" in refusal(lambda: lerobot_python(sys.prefix, None))


def test_a_python_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    old = script(tmp_path / "python3.8", "echo 3 8")
    assert f"needs Python 3.12 or newer and {old} is not one" in refusal(lambda: lerobot_python(None, old))
    assert "nowhere is not one" in refusal(lambda: lerobot_python(None, "nowhere"))


def test_a_failed_installation_is_tried_again(tmp_path: Path) -> None:
    """What stands in for Python fails to make the environment, then to install into it, then neither."""
    pip = 'mkdir -p "$4/bin" && cp "$0.pip" "$4/bin/python"'
    fake = script(
        tmp_path / "python", 'case "$*" in *version_info*) echo 3 12;; *) echo no disk >&2; exit 1;; esac'
    )
    assert refusal(lambda: lerobot_python(None, fake)).endswith("failed: no disk")
    script(tmp_path / "python.pip", "echo no network >&2; exit 1")
    script(tmp_path / "python", f'case "$*" in *version_info*) echo 3 12;; *) {pip};; esac')
    assert refusal(lambda: lerobot_python(None, fake)).endswith("failed: no network")
    script(tmp_path / "python.pip", 'echo "$*" >> "$0.calls"')
    made = lerobot_python(None, fake)
    assert lerobot_python(None, fake) == made == tmp_path / "cache" / "lerobot-venv" / "bin" / "python"
    calls = made.with_name("python.calls").read_text().splitlines()
    assert calls == ["-m pip install --quiet lerobot[dataset,diffusion]==0.6.1"], (
        "once: the second call found it"
    )


# lerobot itself


@pytest.fixture(scope="module")
def environment() -> str | None:
    """The environment that has lerobot 0.6.1: S2ROBOT_LEROBOT, else one is made (several GB)."""
    return os.environ.get("S2ROBOT_LEROBOT")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> DemoStore:
    store = DemoStore.create(tmp_path_factory.mktemp("lerobot") / "demos", SPEC)
    for n, steps in enumerate((6, 9)):
        episode = made_episode(0, n, steps=steps)
        episode.attributes |= {"instruction": f"task {n}", "action_loss_mask": [True] * steps}
        store.append(episode, f"{3 * n:06d}")
    return store


def moved(command: str, source: Path, out: Path, *options: str) -> Path:
    assert toy_loop.s2robot(command, "format=lerobot", f"demos={source}", f"out={out}", *options) == 0
    return out


def python_of(environment: str | None) -> Path:
    return Path(environment, "bin", "python") if environment else lerobot_python(None, None)


def run(python: Path, script: str, *arguments: object) -> str:
    """What a script prints that runs in lerobot's environment, offline."""
    with TemporaryDirectory() as hub:
        env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": hub}
        command = [python, "-I", TESTS / script, *map(str, arguments)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_lerobot_reads_our_export_and_trains_on_it(
    demos: DemoStore, tmp_path: Path, environment: str | None
) -> None:
    folder = moved("export", demos.path, tmp_path / "dataset")
    read: dict[str, Any] = json.loads(
        run(python_of(environment), "lerobot_trains.py", folder, 0, 7, 14).splitlines()[-1]
    )
    assert read["version"] == "v3.0"
    assert read["outputs"] == {"action": [2]}, "action_applied is nothing to predict"
    assert len(read["losses"]) == 2
    assert np.isfinite(read["losses"]).all()
    assert read["losses"][0] != read["losses"][1]
    for step, episode_id, at in (("0", "000000", 0), ("7", "000003", 1), ("14", "000003", 8)):
        episode = demos.episode(episode_id)
        assert read["steps"][step] == {
            "state": hashlib.sha256(episode.proprio[at].tobytes()).hexdigest(),
            "action": hashlib.sha256(episode.action[at].tobytes()).hexdigest(),
            "task": episode.attributes["instruction"],
            "frames": {
                f"observation.images.{camera}": hashlib.sha256(
                    episode.images(camera, at).tobytes()
                ).hexdigest()
                for camera in SPEC.cameras
            },
        }


def versions() -> Iterator[Any]:
    """Environments that have a lerobot: `S2ROBOT_LEROBOT` writes v3.0, `S2ROBOT_LEROBOT_V21` (0.3.3) v2.1."""
    yield pytest.param("v3.0", "S2ROBOT_LEROBOT", id="v3.0")
    yield pytest.param("v2.1", "S2ROBOT_LEROBOT_V21", id="v2.1")


@pytest.mark.slow
@pytest.mark.parametrize("images", ["image", "video"])
@pytest.mark.parametrize(("version", "variable"), versions())
def test_lerobot_and_we_read_what_the_other_wrote(
    demos: DemoStore, tmp_path: Path, version: str, variable: str, images: str
) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no environment that has lerobot")
    python = python_of(os.environ[variable])
    folder = moved("export", demos.path, tmp_path / "dataset", f"version={version}", f"images={images}")
    run(python, "lerobot_reads.py", folder, tmp_path / "read.npz")
    read = np.load(tmp_path / "read.npz")
    episodes = demos.episodes()
    for name, ours in (("observation.state", "proprio"), ("action", "action")):
        np.testing.assert_array_equal(read[name], np.concatenate([getattr(e, ours) for e in episodes]))
    tasks = [e.attributes["instruction"] for e in episodes for _ in range(e.length)]
    assert read["task"].tolist() == tasks
    if images == "image":
        frames = np.concatenate([e.images("front") for e in episodes])
        np.testing.assert_array_equal(read["observation.images.front"], frames)

    run(python, "lerobot_writes.py", tmp_path / "theirs", images, tmp_path / "written.npz")
    written = np.load(tmp_path / "written.npz")
    store = DemoStore.open(moved("import", tmp_path / "theirs", tmp_path / "back"))
    assert store.attributes["lerobot"]["codebase_version"] == version
    for n, episode in enumerate(store.episodes()):
        np.testing.assert_array_equal(episode.proprio, written[f"{n} observation.state"])
        np.testing.assert_array_equal(episode.action, written[f"{n} action"])
        assert episode.attributes["instruction"] == f"task {n % 2}"
        difference = np.abs(episode.images("top").astype(int) - written[f"{n} observation.images.top"])
        assert difference.mean() < (8 if images == "video" else 1e-9), "another step's frame is 80 away"
