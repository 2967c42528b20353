"""A policy on another machine: it acts as one here does, or says why not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_loop
from mistakes import refusal
from serving import (
    KEY,
    PREDICTED,
    SPEC,
    Adder,
    Running,
    adding,
    observation,
    running,
    service_of,
    small_policy,
)
from websockets.server import ServerProtocol
from websockets.sync.server import serve

from envs.toy import Toy
from s2robot.core.rollout import Actor, run_episode
from s2robot.policy.checkpoint import load_policy
from s2robot.policy.policy import ChunkExecutor, Policy, TemporalEnsemble
from s2robot.serve.client import RemotePolicy, RemotePredictor
from s2robot.serve.connection import Limits
from s2robot.serve.contract import Contract
from s2robot.serve.wire import pack
from tests.stress.server_process import ServerProcess, write_untrained


@pytest.fixture
def server() -> Iterator[Running]:
    with running(adding()) as found:
        yield found


class Taken(ChunkExecutor):
    """An executor that keeps what it gave."""

    def __init__(self, policy: Any, n_action_steps: int) -> None:
        super().__init__(policy, n_action_steps)
        self.taken: list[np.ndarray] = []

    def act(self, observation: Any) -> np.ndarray:
        self.taken.append(super().act(observation))
        return self.taken[-1]


def acts(actor: Actor, seeds: range) -> np.ndarray:
    return np.stack([actor.act(observation(seed)) for seed in seeds])


def test_an_episode_there_equals_one_here_bit_for_bit() -> None:
    policy = small_policy(("front", "wrist"))
    here = ChunkExecutor(Policy(policy.model, policy.extractor, policy.spec), n_action_steps=3)
    with running(service_of(policy)) as server, RemotePolicy(server.url, n_action_steps=3) as there:
        there.reset(), here.reset()
        assert acts(there, range(8)).tobytes() == acts(here, range(8)).tobytes()


@pytest.mark.parametrize("make", [lambda p: ChunkExecutor(p, 4), lambda p: TemporalEnsemble(p, 0.3)])
def test_every_way_of_executing_chunks_works_there(server: Running, make: Callable[[Any], Actor]) -> None:
    here, there = make(Adder()), make(RemotePredictor(server.url))
    for _ in range(2):
        here.reset(), there.reset()
        np.testing.assert_array_equal(acts(there, range(9)), acts(here, range(9)))


def test_two_actors_of_one_server_do_not_mix(server: Running) -> None:
    with (
        RemotePolicy(server.url, n_action_steps=2) as one,
        RemotePolicy(server.url, n_action_steps=2) as other,
    ):
        mixed = [(one.act(observation(i)), other.act(observation(i + 50))) for i in range(5)]
    here = ChunkExecutor(Adder(), 2)
    np.testing.assert_array_equal([a for a, _ in mixed], acts(here, range(5)))
    here.reset()
    np.testing.assert_array_equal([b for _, b in mixed], acts(here, range(50, 55)))


def test_it_knows_the_robot_it_was_trained_on(server: Running) -> None:
    with RemotePolicy(server.url, n_action_steps=2) as policy:
        assert policy.spec == SPEC.select_cameras(["front"])
        assert policy.remote.chunk_size == PREDICTED


def test_an_action_may_be_changed(server: Running) -> None:
    with RemotePolicy(server.url, n_action_steps=2) as policy:
        policy.act(observation(0))[:] = 0


@pytest.mark.parametrize("n_action_steps", [0, PREDICTED + 1])
def test_more_action_steps_than_a_chunk_has_are_refused_and_the_connection_freed(
    server: Running, n_action_steps: int
) -> None:
    for _ in range(10):  # more than there are connections
        assert "the actions it predicts" in refusal(
            lambda: RemotePolicy(server.url, n_action_steps=n_action_steps)
        )


# ---------------------------------------------------------------------- what goes wrong


def test_what_the_server_refuses_is_told_in_its_words(server: Running) -> None:
    with RemotePolicy(server.url, n_action_steps=2) as policy:
        policy.act(observation(0))
        bad = observation(1) | {"proprio": np.array([0, 0, np.inf], np.float32)}
        assert refusal(lambda: policy.act(bad)) == f"{server.url}: proprio is not finite: entry 2"
        policy.reset()
        np.testing.assert_array_equal(acts(policy, range(3)), acts(ChunkExecutor(Adder(), 2), range(3)))


def test_a_missing_camera_is_told_before_anything_is_sent(server: Running) -> None:
    with RemotePolicy(server.url, n_action_steps=2) as policy:
        blind = observation(0) | {"images": {"fornt": observation(0)["images"]["front"]}}
        assert "unknown camera 'front': did you mean 'fornt'?" in refusal(lambda: policy.act(blind))
        policy.act(observation(0))


def test_with_another_key_it_is_refused() -> None:
    with running(adding(), key=KEY) as server:
        for key in (None, "another key of the tests"):
            said = refusal(lambda key=key: RemotePolicy(server.url, key=key, wait=0))
            assert said == f"{server.url} refuses the connection: it wants another API key"
        with RemotePolicy(server.url, key=KEY, n_action_steps=2) as policy:
            policy.act(observation(0))


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://127.0.0.1", "ws://", ""])
def test_an_address_that_is_none(url: str) -> None:
    assert url in refusal(lambda: RemotePredictor(url, wait=0))


def test_nobody_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no policy server at {url} after 0.3 s"):
            RemotePredictor(url, wait=0.3)


def test_a_server_that_comes_up_later_is_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: list[RemotePredictor] = []
    waiting = threading.Thread(
        target=lambda: found.append(RemotePredictor(f"ws://127.0.0.1:{port}", wait=20))
    )
    waiting.start()
    with running(adding(), port=port):
        waiting.join(20)
        assert found and found[0].chunk_size == PREDICTED
        found[0].close()


def test_a_connection_lost_within_an_episode_is_an_error_and_the_next_one_begins_anew() -> None:
    with running(adding()) as server:
        policy = RemotePolicy(server.url, n_action_steps=2, wait=0)
        policy.act(observation(0))
    with pytest.raises(ConnectionError, match=f"connection to {server.url} lost"):
        acts(policy, range(1, 3))
    policy.reset()
    with pytest.raises(ConnectionError, match="no policy server at"):
        policy.act(observation(0))
    with running(adding(), port=server.port):
        policy.reset()
        np.testing.assert_array_equal(acts(policy, range(4)), acts(ChunkExecutor(Adder(), 2), range(4)))
        policy.close()


def test_a_connection_dropped_between_episodes_is_not_noticed() -> None:
    with running(adding(), Limits(idle=1.0)) as server, RemotePolicy(server.url, n_action_steps=2) as policy:
        for _ in range(2):
            threading.Event().wait(1.2)
            policy.reset()
            np.testing.assert_array_equal(
                policy.act(observation(0)), ChunkExecutor(Adder(), 2).act(observation(0))
            )


def test_another_policy_at_the_same_address_is_refused() -> None:
    with running(adding(about={"checkpoint_sha256": "a"})) as server:
        policy = RemotePolicy(server.url, n_action_steps=2)
    with running(adding(about={"checkpoint_sha256": "b"}), port=server.port):
        policy.reset()
        assert "now serves another policy than at the start" in refusal(lambda: policy.act(observation(0)))


def answered(*messages: bytes | str | None) -> Callable[[Any], None]:
    """A server that sends these, one after each message it gets; None: it waits."""

    def talk(connection: Any) -> None:
        first, *others = messages
        if first is not None:
            connection.send(first)
        for message in others:
            connection.recv()
            if message is not None:
                connection.send(message)
        connection.recv()

    return talk


METADATA = pack(adding().metadata())


@pytest.fixture
def foreign() -> Iterator[Callable[..., str]]:
    """Starts servers that are none of ours."""
    servers = []

    def start(*messages: bytes | str | None) -> str:
        server = serve(answered(*messages), "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (pack({"a": 1}), "its metadata lacks 'robot_spec'"),
        (pack([1]), "its metadata lacks"),
        (pack({"robot_spec": {"cameras": 3}, "chunk_size": 6}), "robot spec lacks"),
        ("hello", "it said 'hello'"),
        (b"\xc1", "no readable msgpack message"),
    ],
)
def test_what_is_no_server_of_ours_is_told(
    foreign: Callable[..., str], first: bytes | str, said: str
) -> None:
    url = foreign(first)
    assert said in refusal(lambda: RemotePredictor(url, wait=0))


@pytest.mark.parametrize(
    "reply",
    [
        pack({"actions": np.zeros((PREDICTED, 3), np.float32)}),
        pack({"actions": np.zeros((PREDICTED, 2), np.float64)}),
        pack({"actions": np.full((PREDICTED, 2), np.nan, np.float32)}),
        pack({"actions": [[0.0, 0.0]]}),
        pack({"action": 1}),
        pack(None),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_a_reply_that_is_no_chunk_moves_nothing(foreign: Callable[..., str], reply: bytes) -> None:
    policy = RemotePolicy(foreign(METADATA, reply), n_action_steps=2)
    with pytest.raises(ConnectionError, match=r"answered .*: expected finite actions, float32 \(6, 2\)"):
        policy.act(observation(0))


def test_a_reply_that_does_not_come_is_an_error_in_time(foreign: Callable[..., str]) -> None:
    policy = RemotePolicy(foreign(METADATA, None), n_action_steps=2, timeout=2.0)
    with pytest.raises(TimeoutError, match="has not answered within 2 s"):
        policy.act(observation(0))


def test_a_server_that_no_longer_reads_does_not_hold_the_control_loop() -> None:
    """Frames that do not fit into the buffers of the sockets: sending them would wait for ever."""
    large = replace(SPEC, cameras={"front": (2400, 2400, 3)})
    over = threading.Event()

    def stand_still(listener: socket.socket) -> None:
        connection, protocol = listener.accept()[0], ServerProtocol()
        protocol.receive_data(connection.recv(4096))
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
        protocol.send_binary(pack(adding(Contract(large)).metadata()))
        connection.sendall(b"".join(protocol.data_to_send()))
        over.wait(60)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=stand_still, args=(listener,), daemon=True).start()
        policy = RemotePolicy(
            f"ws://127.0.0.1:{listener.getsockname()[1]}", n_action_steps=2, timeout=1.0, wait=0
        )
    frame = np.zeros((2400, 2400, 3), np.uint8)
    with pytest.raises(ConnectionError):
        policy.act(observation(0) | {"images": {"front": frame}})
    over.set()


def test_metadata_that_do_not_come_are_an_error_in_time(foreign: Callable[..., str]) -> None:
    with pytest.raises(ConnectionError, match="it sent no metadata"):
        RemotePredictor(foreign(None), timeout=0.3, wait=0)


# ---------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the toy with small frames."""
    folder = tmp_path_factory.mktemp("untrained") / "policy"
    write_untrained(folder, side=32)
    return folder


def test_the_verb_serves_a_checkpoint_until_it_is_told_to_stop(
    untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One episode in the environment, run there and here; then SIGTERM."""
    here = Taken(load_policy(untrained), 8)
    run_episode(Toy(image_size=32, max_steps=10), here, seed=1)
    monkeypatch.setenv("S2ROBOT_API_KEY", KEY)
    with ServerProcess(f"checkpoint={untrained}", "threads=1") as server:
        with RemotePolicy(server.url, key=KEY, timeout=60) as policy:
            assert policy.remote.metadata["checkpoint"] == "policy"
            there = Taken(policy.remote, 8)
            run_episode(Toy(image_size=32, max_steps=10), there, seed=1)
        assert np.array_equal(there.taken, here.taken)
        assert server.stop() == 0
    assert [line.split(" ", 2)[2].split(":")[0] for line in server.lines] == [
        f"serving {untrained} on ws",
        "127.0.0.1",
        "stopped",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["host=0.0.0.0"], "host=0.0.0.0 can be reached by others: give an API key (docs/serve.md)"),
        (["api_key=short"], "API key of 5 characters: expected 16 or more, in ASCII"),
        (
            ["keys={left:images/fornt}"],
            "unknown observation in keys={left: ...} 'images/fornt': did you mean",
        ),
        (["keys=[left]"], 'keys=["left"]: expected a section'),
        (["call_every=17"], "call_every=17: expected 1 to 16"),
        (["reset_after=0"], "reset_after=0"),
        (["max_message=0.005"], "max_message=0.005: the frames of one observation are 0.01 MB"),
        (["connections=0"], "connections=0: expected 1 or more"),
    ],
)
def test_a_mistake_in_an_option_is_one_line(
    options: list[str], said: str, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in toy_loop.refusal(capsys, "serve", f"checkpoint={untrained}", *options)


def test_without_its_packages_one_line_says_which_extra_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2robot.serve.wire.find_spec", lambda name: None)
    for make in (lambda: RemotePredictor("ws://127.0.0.1"), lambda: running(adding()).__enter__()):
        assert refusal(make) == 'msgpack and websockets missing: pip install "s2robot[serve]"'


def test_frames_are_resized_where_the_server_was_told_to() -> None:
    contract = Contract(SPEC.select_cameras(["front"]), resize=True)
    with running(adding(contract)) as server, RemotePolicy(server.url, n_action_steps=2) as policy:
        large = observation(0)
        large["images"]["front"] = np.full((64, 64, 3), 7, np.uint8)
        small = observation(0)
        small["images"]["front"] = np.full((32, 32, 3), 7, np.uint8)
        np.testing.assert_array_equal(policy.act(large), ChunkExecutor(Adder(), 2).act(small))


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://127.0.0.1:9"])
def test_a_proxy_of_the_environment_does_not_stand_between(
    server: Running, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, proxy)
    with RemotePolicy(server.url, wait=1.0) as policy:
        assert policy.spec.action == SPEC.action
    said = refusal(lambda: RemotePredictor(server.url, wait=0.0, proxy="socks5://127.0.0.1:9"))
    assert said.startswith("no way through proxy=socks5://127.0.0.1:9: ")
