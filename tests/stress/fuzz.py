"""Malformed messages by the thousand against a server in a process of its own.

    python -m tests.stress.fuzz --messages 10000 --out docs/results/server_fuzz.json

A crash is a server that ends or meets an error it did not expect; a hang is a message to which nothing comes,
neither a reply nor the end of the connection. Meanwhile a well-behaved client must get the same reply as
before the first malformed message, bit for bit.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from s2robot.core.spec import RobotSpec
from s2robot.serve.wire import pack, unpack
from s2robot.utils.atomic_io import write_json
from s2robot.utils.progress import Progress
from s2robot.utils.provenance import installed_version, machine, versions
from tests.stress.malformed import MESSAGES, socket_attack, too_large
from tests.stress.server_process import ServerProcess, write_untrained

_HANG = 30.0  # s
_CHECK_EVERY = 500  # messages
_SOCKET_SHARE, _LARGE_SHARE = 0.15, 0.002
_SIDE = 64  # px of the frames


@dataclass
class Tally:
    """What came of the messages: kind -> outcome -> how many."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    unlike: int = 0  # replies to the well-behaved client that were not as before

    def add(self, kind: str, outcome: str) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1

    def count(self, outcome: str) -> int:
        return sum(counter[outcome] for counter in self.outcomes.values())


class Attacker:
    """Sends messages to a server, one connection as long as it lasts."""

    def __init__(self, url: str, request: dict[str, Any], seed: int) -> None:
        self._url, self._request = url, request
        self._rng = np.random.default_rng([seed, 9])
        self._connection: Any = None

    def attack(self) -> tuple[str, str]:
        """One malformed message: its kind, and what came of it."""
        chance = self._rng.random()
        if chance < _SOCKET_SHARE:
            return "socket", self._at_socket(socket_attack(self._rng))
        if chance < _SOCKET_SHARE + _LARGE_SHARE:
            return "too_large", self._send(too_large(self._rng, self._request))
        kind = str(self._rng.choice(list(MESSAGES)))
        return kind, self._send(MESSAGES[kind](self._rng, self._request))

    def _send(self, message: bytes | str) -> str:
        from websockets.exceptions import ConnectionClosed

        if self._connection is None:
            self._connection = connected(self._url)
        try:
            self._connection.send(message)
            reply = self._connection.recv(timeout=_HANG)
            if isinstance(reply, bytes):
                return "answered"  # what was changed did not matter
            self._connection.recv(timeout=_HANG)
            outcome = "hang"
        except TimeoutError:
            outcome = "hang"
        except ConnectionClosed as closed:
            outcome = f"closed with {closed.rcvd.code}" if closed.rcvd else "closed"
        self._connection.close()
        self._connection = None
        return outcome

    def _at_socket(self, data: bytes) -> str:
        address = urlsplit(self._url)
        try:
            with socket.create_connection((address.hostname, address.port), timeout=_HANG) as bare:
                bare.sendall(data)
                bare.shutdown(socket.SHUT_WR)
                while bare.recv(65536):
                    pass
        except TimeoutError:
            return "hang"
        except OSError:  # reset: it has hung up before everything was sent
            return "closed"
        return "closed"


def connected(url: str) -> Any:
    """A connection whose metadata has been read. A server that is full of those just closed is waited for."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    for _ in range(100):
        try:
            connection = connect(url, compression=None, max_size=None, close_timeout=5, open_timeout=_HANG)
        except InvalidStatus:
            time.sleep(0.1)
            continue
        connection.recv(timeout=_HANG)
        return connection
    raise ConnectionError(f"{url} lets nobody in")


def well_formed(spec: RobotSpec) -> dict[str, Any]:
    """A request for this robot."""
    rng = np.random.default_rng(0)
    frames = {f"images/{n}": rng.integers(0, 256, s, dtype=np.uint8) for n, s in spec.cameras.items()}
    return {**frames, "proprio": np.zeros(spec.proprio_dim, np.float32), "reset": True}


def fuzz(url: str, request: dict[str, Any], messages: int, seed: int, tally: Tally) -> None:
    """Sends the messages; a well-behaved client asks now and then, and at the end on a new connection."""
    attacker, client = Attacker(url, request, seed), connected(url)

    def reply(connection: Any) -> bytes:
        connection.send(pack(request))
        return unpack(connection.recv(timeout=_HANG))["actions"].tobytes()

    before = reply(client)
    for index in Progress(range(messages), desc="fuzz", unit="message"):
        tally.add(*attacker.attack())
        if index % _CHECK_EVERY == _CHECK_EVERY - 1:
            tally.unlike += reply(client) != before
    tally.unlike += reply(client) != before
    tally.unlike += reply(connected(url)) != before


def run(messages: int, seed: int) -> dict[str, Any]:
    """Starts a server with an untrained policy, attacks it, and says how it fared."""
    tally, failure, started = Tally(), None, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        request = well_formed(write_untrained(Path(folder) / "untrained", _SIDE))
        with ServerProcess(f"checkpoint={folder}/untrained", "threads=1") as server:
            memory = [server.memory_mb()]
            try:
                fuzz(server.url, request, messages, seed, tally)
            except Exception as error:  # a server that no longer serves
                failure = f"{type(error).__name__}: {error}"
            running = server.is_running()
            memory.append(server.memory_mb() if running else 0.0)
            stopped = server.stop() == 0
    bugs = sum("internal error" in line or "Traceback" in line for line in server.lines)
    return {
        "messages": sum(counter.total() for counter in tally.outcomes.values()),
        "crashes": bugs + (not running),
        "hangs": tally.count("hang"),
        "still_serving": running and stopped and failure is None and tally.unlike == 0,
        "failure": failure,
        "outcomes": {kind: dict(counter) for kind, counter in sorted(tally.outcomes.items())},
        "memory_mb": {"before": memory[0], "after": memory[1]},
        "seconds": round(time.monotonic() - started, 1),
        "seed": seed,
        "machine": machine(),
        "versions": serving_versions(),
    }


def serving_versions() -> dict[str, str | None]:
    """The versions of the loop and of the extra `serve`."""
    return versions() | {name: installed_version(name) for name in ("msgpack", "websockets")}


def main() -> None:
    """Attacks a server and writes what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    result = run(options.messages, options.seed)
    write_json(options.out, result)
    names = ("messages", "crashes", "hangs", "still_serving", "seconds")
    print(", ".join(f"{key} {result[key]}" for key in names))


if __name__ == "__main__":
    main()
