"""The real openpi client, in an environment of its own (it needs numpy < 2), against our server."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
from serving import KEY, PREDICTED, Running, observation, request, running, service_of, small_policy

from s2robot.policy.policy import ChunkExecutor, Policy
from s2robot.serve.session import Session
from s2robot.serve.wire import pack, unpack

pytestmark = pytest.mark.slow

STEPS, CALL_EVERY = 7, 3

CLIENT = """
import sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

port, n_action_steps, call_every, key, way, path = *map(int, sys.argv[1:4]), *sys.argv[4:]
frames, proprio = (np.load(path)[name] for name in ("frames", "proprio"))
policy = WebsocketClientPolicy("127.0.0.1", port, api_key=key)
metadata = policy.get_server_metadata()
assert metadata["observation"]["images/front"] == {"dtype": "uint8", "shape": [32, 32, 3]}, metadata
assert metadata["chunk_size"] == n_action_steps and metadata["history"]["call_every"] == call_every
seen = [{"images/front": f, "proprio": p, "prompt": "pick up the cube"} for f, p in zip(frames, proprio)]
if way == "infer":
    executed = [dict(s, actions_executed=np.full((1, 2), 0.5)) for s in seen[1:]]
    replies = [policy.infer(s) for s in (seen[0], *executed)]
    assert all(reply["server_timing"]["infer_ms"] > 0 for reply in replies)
    assert replies[1]["server_timing"]["prev_total_ms"] > 0
    assert policy.infer(dict(seen[0], reset=True))["actions"].tobytes() == replies[0]["actions"].tobytes()
    np.save(path + ".npy", np.stack([reply["actions"] for reply in replies]))
elif way == "broker":
    broker = ActionChunkBroker(policy, action_horizon=call_every)
    np.save(path + ".npy", np.stack([broker.infer(s)["actions"] for s in seen]))
else:
    try:
        policy.infer({"images/front": frames[0], "proprio": proprio[0] * np.nan})
    except RuntimeError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with openpi-client (which does not declare typing_extensions)."""
    folder = tmp_path_factory.mktemp("openpi")
    venv.create(folder, with_pip=True)
    packages = ("openpi-client==0.1.2", "typing_extensions")
    command = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"openpi-client cannot be installed: {(done.stderr.strip() or '?').splitlines()[-1]}")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small_policy()


@pytest.fixture
def server(policy: Policy):
    with running(service_of(policy, call_every=CALL_EVERY), key=KEY) as found:
        yield found


def call(
    python: Path, server: Running, way: str, folder: Path, key: str = KEY
) -> subprocess.CompletedProcess[str]:
    """The client's process; what it was answered lies in `folder`."""
    seen = [observation(seed) for seed in range(STEPS)]
    frames = np.stack([s["images"]["front"] for s in seen])
    np.savez(folder / "seen.npz", frames=frames, proprio=np.stack([s["proprio"] for s in seen]))
    numbers = map(str, (server.port, PREDICTED, CALL_EVERY))
    arguments = [*numbers, key, way, str(folder / "seen.npz")]
    return subprocess.run([python, "-c", CLIENT, *arguments], capture_output=True, text=True, timeout=300)


def test_it_gets_the_predictions_of_the_policy_here_bit_for_bit(
    python: Path, server: Running, policy: Policy, tmp_path: Path
) -> None:
    done = call(python, server, "infer", tmp_path)
    assert done.returncode == 0, done.stderr
    here = Session(service_of(policy))
    executed = [{"actions_executed": np.full((1, 2), 0.5)} if seed else {} for seed in range(STEPS)]
    expected = [
        unpack(here.answer(pack(request(seed, **more))))["actions"] for seed, more in enumerate(executed)
    ]
    assert np.load(tmp_path / "seen.npz.npy").tobytes() == np.stack(expected).tobytes()


def test_its_chunk_broker_is_answered_as_if_every_action_had_been_executed(
    python: Path, server: Running, policy: Policy, tmp_path: Path
) -> None:
    """It calls every third step and says nothing of what it executes."""
    done = call(python, server, "broker", tmp_path)
    assert done.returncode == 0, done.stderr
    here, expected = Policy(policy.model, policy.extractor, policy.spec), []
    for step in range(STEPS):
        if step % CALL_EVERY == 0:
            here.observe(observation(step))
            chunk = here.predict()
        expected.append(chunk[step % CALL_EVERY])
        here.record_action(expected[-1])
    taken = np.load(tmp_path / "seen.npz.npy")
    assert taken.tobytes() == np.stack(expected).tobytes()
    every_step = ChunkExecutor(Policy(policy.model, policy.extractor, policy.spec), CALL_EVERY)
    assert not np.array_equal(taken, [every_step.act(observation(step)) for step in range(STEPS)])


def test_it_shows_what_the_server_refuses(python: Path, server: Running, tmp_path: Path) -> None:
    done = call(python, server, "wrong", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Error in inference server:\nproprio is not finite: entry 0\n"


def test_with_another_key_it_is_not_let_in(python: Path, server: Running, tmp_path: Path) -> None:
    done = call(python, server, "infer", tmp_path, key="another key of the tests")
    assert done.returncode == 1
    assert "HTTP 401" in done.stderr
