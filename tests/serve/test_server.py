"""The server over real sockets: the protocol, who is let in, and that nobody spoils it for the others."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from mistakes import refusal
from serving import KEY, OBSERVED, Adder, ByHand, Running, adding, request, running, service_of, small_policy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from s2robot.serve.connection import Limits
from s2robot.serve.server import PolicyServer
from s2robot.serve.session import Session
from s2robot.serve.wire import pack, unpack
from tests.stress.malformed import HANDSHAKE


@pytest.fixture
def server() -> Iterator[Running]:
    with running(adding()) as found:
        yield found


def closing(connection: ClientConnection) -> int:
    """The code with which the other side closes."""
    with pytest.raises(ConnectionClosed) as caught:
        for _ in range(100):
            connection.recv(timeout=10)
    return caught.value.rcvd.code if caught.value.rcvd else 1006


def still_serves(server: Running) -> None:
    with server.client() as client:
        assert client.infer(request(0))["actions"].tobytes() == expected().tobytes()


def expected() -> np.ndarray:
    return unpack(Session(adding()).answer(pack(request(0))))["actions"]


def health(server: Running) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=10) as answer:
        assert answer.status == 200
        return answer.read()


def raw_socket(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed, which is waited for."""
    connection.settimeout(10)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# ---------------------------------------------------------------------- the protocol


def test_a_reply_equals_the_prediction_of_the_policy_here_bit_for_bit() -> None:
    policy = small_policy(("front",))
    here = Session(service_of(policy))
    with running(service_of(policy)) as server, server.client() as client:
        for seed in range(OBSERVED):
            there = client.infer(request(seed))["actions"]
            assert there.tobytes() == unpack(here.answer(pack(request(seed))))["actions"].tobytes()


def test_the_metadata_comes_first_and_timings_with_each_reply(server: Running) -> None:
    with server.client() as client:
        assert client.metadata == unpack(pack(server.server.service.metadata()))
        assert "prev_total_ms" not in client.infer(request(0))["server_timing"]
        timing = client.infer(request(0))["server_timing"]
        assert timing["infer_ms"] >= 0 and 0 < timing["prev_total_ms"] < 10_000


def test_clients_do_not_mix(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(3)]
        here = [Session(adding()) for _ in clients]
        for step in range(4):
            for i, (client, session) in enumerate(zip(clients, here, strict=True)):
                message = request(10 * i + step)
                mine = unpack(session.answer(pack(message)))["actions"]
                assert client.infer(message)["actions"].tobytes() == mine.tobytes()


def test_clients_at_once_all_get_their_own(server: Running) -> None:
    wrong: list[int] = []

    def talk(number: int) -> None:
        session = Session(adding())
        with server.client() as client:
            for step in range(30):
                message = request(100 * number + step)
                mine = unpack(session.answer(pack(message)))["actions"]
                if client.infer(message)["actions"].tobytes() != mine.tobytes():
                    wrong.append(number)

    threads = [threading.Thread(target=talk, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


REFUSED: list[tuple[bytes | str, str]] = [
    (pack(request(0, proprio=np.array([0, np.nan, 0]))), "proprio is not finite: entry 1"),
    (
        pack(request(0, **{"images/front": np.zeros((32, 32, 3))})),
        "is float64 (32, 32, 3): expected uint8 (32,",
    ),
    (
        pack(request(0, **{"images/front": np.zeros((64, 64, 3), np.uint8)})),
        "is uint8 (64, 64, 3): expected uint8",
    ),
    (pack({}), "images/front missing: the request has nothing"),
    (
        msgpack.packb({b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [1]}),
        "dtype '|O' does not",
    ),
    (b"\xdd\xff\xff\xff\xff", "no readable msgpack message of 5 bytes"),
    (b"", "no readable msgpack message of 0 bytes"),
    ("{}", "a text message: expected a map in a binary one"),
]


@pytest.mark.parametrize(("message", "said"), REFUSED)
def test_what_is_refused_is_told_in_one_text_then_the_connection_closed(
    server: Running, message: bytes | str, said: str
) -> None:
    with server.client() as other, server.client() as client:
        other.infer(request(5))
        told = client.raw(message)
        assert isinstance(told, str) and said in told and "\n" not in told
        assert closing(client.connection) == 1011
        assert isinstance(other.infer(request(6))["actions"], np.ndarray)
    still_serves(server)


def test_a_bug_in_the_policy_is_told_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Adder):
        def predict(self) -> np.ndarray:
            if self.total > 1e6:
                raise ZeroDivisionError("of a secret path")
            return super().predict()

    with caplog.at_level(logging.INFO), running(adding(new_predictor=Broken)) as server:
        with server.client() as client:
            assert (
                client.raw(pack(request(0, proprio=np.full(3, 1e9)))) == "internal error: ZeroDivisionError"
            )
            assert closing(client.connection) == 1011
        still_serves(server)
    assert "of a secret path" in caplog.text and "Traceback" in caplog.text


def test_a_message_in_fragments_is_one_message(server: Running) -> None:
    data = pack(request(0))
    with server.client() as client:
        client.connection.send([data[:100], b"", data[100:200], data[200:]])
        reply = client.connection.recv(timeout=10)
        assert unpack(reply)["actions"].tobytes() == expected().tobytes()  # type: ignore[arg-type]


# ---------------------------------------------------------------------- who is let in


def test_health_is_told_to_everybody() -> None:
    with running(adding(), key=KEY) as server:
        assert health(server) == b"OK\n"


def test_other_pages_are_none(server: Running) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=10)
    assert caught.value.code == 426


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Api-Key another key of the tests")],
        [("Authorization", f"Bearer {KEY}")],
        [("Authorization", KEY)],
        [("Authorization", f"Api-Key {KEY} ."), ("X", "y")],
        [("Authorization", f"Api-Key {KEY}"), ("Authorization", f"Api-Key {KEY}")],
        [("Authorization", f"Api-Key {KEY[:-1]}é")],
    ],
)
def test_without_the_key_nobody_is_let_in(headers: list[tuple[str, str]]) -> None:
    with running(adding(), key=KEY) as server:
        with pytest.raises(InvalidStatus) as caught:
            server.connect(additional_headers=headers)
        assert caught.value.response.status_code == 401
        assert KEY.encode() not in (caught.value.response.body or b"")
        with server.connect(additional_headers={"Authorization": f"Api-Key {KEY}"}) as connection:
            assert ByHand(connection).infer(request(0))["actions"].tobytes() == expected().tobytes()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "robot.local", ""])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    assert refusal(lambda: PolicyServer(adding(), host=host)).startswith(
        f"host={host} can be reached by others"
    )
    PolicyServer(adding(), host=host, key=KEY)


@pytest.mark.parametrize("key", ["", "short", "ключ из многих букв", f" {KEY}"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    assert refusal(lambda: PolicyServer(adding(), key=key)).startswith(f"API key of {len(key)} characters")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_none_is_needed(host: str) -> None:
    PolicyServer(adding(), host=host)


def test_no_web_page_may_call(server: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        server.connect(origin="http://127.0.0.1")
    assert caught.value.response.status_code == 403


def test_an_address_that_is_taken_is_told_in_one_line(server: Running) -> None:
    def another() -> None:
        with running(adding(), port=server.port):
            pass

    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{server.port}: "):
        another()


def test_more_clients_than_connections_wait_outside() -> None:
    with running(adding(), Limits(connections=2)) as server:
        with server.client() as one, server.client() as other:
            with pytest.raises(InvalidStatus) as caught:
                server.connect()
            assert caught.value.response.status_code == 503
            assert health(server) == b"OK\n"
            one.infer(request(0)), other.infer(request(0))
        deadline = time.monotonic() + 10
        while True:  # the server hears of their leaving a moment later
            try:
                return still_serves(server)
            except InvalidStatus:
                assert time.monotonic() < deadline


# ---------------------------------------------------------------------- slow and hostile clients


class Slow(Adder):
    """Predicts when it is let."""

    let = threading.Event()
    begun = threading.Event()

    def predict(self) -> np.ndarray:
        self.begun.set()
        assert self.let.wait(30)
        return super().predict()


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    Slow.let.clear(), Slow.begun.clear()
    yield Slow
    Slow.let.set()


def test_the_server_lives_while_a_policy_thinks(slow: type[Slow]) -> None:
    with running(adding(new_predictor=slow)) as server, server.client() as client:
        client.connection.send(pack(request(0)))
        assert slow.begun.wait(10)
        assert health(server) == b"OK\n"
        with server.client() as other:
            assert other.metadata["chunk_size"] == client.metadata["chunk_size"]
        slow.let.set()
        assert unpack(client.connection.recv(timeout=10))["actions"].tobytes() == expected().tobytes()  # type: ignore[arg-type]


def test_a_request_that_is_too_large_ends_its_connection_only() -> None:
    with (
        running(adding(), Limits(message=10_000)) as server,
        server.client() as other,
        server.client() as client,
    ):
        client.connection.send(bytes(10_001))
        assert closing(client.connection) == 1009
        assert other.infer(request(0))["actions"].tobytes() == expected().tobytes()


def test_a_message_of_endless_fragments_is_cut_off(server: Running) -> None:
    with server.client() as other, server.client() as client:
        with pytest.raises(ConnectionClosed):
            client.connection.send(b"" for _ in range(10_000_000))  # more than buffers hold
        assert other.infer(request(0))["actions"].tobytes() == expected().tobytes()


def test_who_does_not_finish_the_handshake_is_dropped() -> None:
    with running(adding(), Limits(handshake=1.0)) as server:
        with raw_socket(server) as silent, raw_socket(server) as halting:
            halting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert ended(silent) and ended(halting)
        still_serves(server)


def test_a_crowd_that_says_nothing_keeps_nobody_out() -> None:
    with running(adding(), Limits(connections=1, handshake=60)) as server, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(raw_socket(server)) for _ in range(40)]
        still_serves(server)
        assert all(ended(connection) for connection in crowd[:15]), "the oldest have made room"


def test_who_asks_nothing_is_dropped_in_the_end() -> None:
    with running(adding(), Limits(idle=2.0)) as server, server.client() as client:
        client.infer(request(0))
        assert closing(client.connection) == 1006


def test_who_makes_the_server_talk_and_does_not_listen_is_cut_off(server: Running) -> None:
    """It pings for ever and reads no pong: they must not pile up."""
    with server.client() as other, raw_socket(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(120)
        client.sendall(HANDSHAKE)
        pings = (b"\x89\xfd" + bytes(4) + bytes(125)) * 500
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                client.sendall(pings)
        assert other.infer(request(0))["actions"].tobytes() == expected().tobytes()


# ---------------------------------------------------------------------- its end, and what it logs


def test_at_its_end_who_waits_gets_a_reply_and_the_others_a_farewell(slow: type[Slow]) -> None:
    with running(adding(new_predictor=slow)) as server, server.client() as idle, server.client() as busy:
        busy.connection.send(pack(request(0)))
        assert slow.begun.wait(10)
        server.stop()
        assert closing(idle.connection) == 1001
        with pytest.raises((OSError, InvalidStatus)):
            server.connect()
        slow.let.set()
        assert unpack(busy.connection.recv(timeout=10))["actions"].tobytes() == expected().tobytes()  # type: ignore[arg-type]
        assert closing(busy.connection) == 1001
        server.thread.join(10)
        assert not server.thread.is_alive()


def test_a_policy_that_hangs_does_not_keep_the_server_from_stopping(slow: type[Slow]) -> None:
    with running(adding(new_predictor=slow), Limits(stop=0.3)) as server, server.client() as client:
        client.connection.send(pack(request(0)))
        assert slow.begun.wait(10)
        server.stop()
        server.thread.join(10)
        assert not server.thread.is_alive()


def test_each_connection_is_one_line_of_the_log(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "s2robot"):
        with server.client() as client:
            client.infer(request(0)), client.infer(request(1))
        with server.client() as client:
            client.raw(pack({"evil\n2026-01-01 root logged in \x1b[2J": 1}))
            closing(client.connection)
        with raw_socket(server) as client:
            client.sendall(os.urandom(2000))
            ended(client)
        server.stop()
        server.thread.join(10)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert re.fullmatch(r"127\.0\.0\.1:\d+: 2 requests of [\d.]+ ms in [\d.]+ s, closed with 1000", lines[0])
    assert re.fullmatch(
        r"127\.0\.0\.1:\d+: 0 requests in [\d.]+ s, refused: images/front missing: .*", lines[1]
    )
    assert lines[1].isprintable()


def test_a_line_of_the_log_is_not_long(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    message: dict[str, Any] = {f"{i}" * 60: i for i in range(10, 200)}
    with caplog.at_level(logging.INFO, "s2robot"), server.client() as client:
        assert len(client.raw(pack(message))) <= 500
        closing(client.connection)
        server.stop()
        server.thread.join(10)
    assert all(len(record.getMessage()) < 700 for record in caplog.records)
