"""One client of the server: its metadata, its requests one by one, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2robot.core.errors import UserError
from s2robot.serve.session import Session

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

log = logging.getLogger(__name__)

INTERNAL_ERROR, GOING_AWAY = 1011, 1001  # codes of RFC 6455
_MOST_FRAGMENTS = 1024  # of one message
_LONGEST_ERROR = 500  # characters


@dataclass(frozen=True)
class Limits:
    """What one client may cost the others.

    Attributes:
        connections: at most at a time.
        message: bytes of a request.
        idle: s without a complete request until a connection is closed.
        handshake, close: s for the opening and the closing handshake.
        send: s until a reply is taken.
        stop: s for the requests that are being answered when the server is stopped.
    """

    connections: int = 8
    message: int = 8_000_000
    idle: float = 600.0
    handshake: float = 5.0
    send: float = 5.0
    close: float = 1.0
    stop: float = 5.0


class Client:
    """A connected client with a history of its own; `executor` runs its inference."""

    def __init__(
        self, connection: ServerConnection, session: Session, executor: Executor, limits: Limits
    ) -> None:
        self._connection = connection
        self._session = session
        self._executor = executor
        self._limits = limits
        self._busy = self._stopping = False
        self._requests, self._total_ms = 0, 0.0

    async def serve(self, metadata: bytes) -> None:
        """Answers until the connection ends, then logs how it went."""
        started = time.monotonic()
        ended = await self._until_its_end(metadata)
        mean = f" of {self._total_ms / self._requests:.1f} ms" if self._requests else ""
        what = f"{self._requests} requests{mean} in {time.monotonic() - started:.1f} s"
        log.info("%s: %s, %s", name(self._connection), what, ended)

    async def stop(self) -> None:
        """Ends the connection: at once, or after the reply it waits for."""
        self._stopping = True
        if not self._busy:
            await self._close(GOING_AWAY, "the server stops")

    async def _until_its_end(self, metadata: bytes) -> str:
        """Why it ended."""
        from websockets.exceptions import ConnectionClosed

        try:
            return await self._answer_all(metadata)
        except ConnectionClosed as closed:
            frame = closed.rcvd or closed.sent
            return f"closed with {frame.code}" if frame else "connection lost"
        except TimeoutError:
            self._connection.transport.abort()
            return f"cut off: it asked nothing for {self._limits.idle:g} s, or did not take its reply"
        except UserError as error:
            text = one_line(str(error))
            await self._refuse(text)
            return f"refused: {text}"
        except Exception as error:
            log.exception("%s: internal error", name(self._connection))
            await self._refuse(f"internal error: {type(error).__name__}")
            return "internal error"

    async def _answer_all(self, metadata: bytes) -> str:
        loop, previous_ms = asyncio.get_running_loop(), None
        await self._send(metadata)
        while not self._stopping:
            async with asyncio.timeout(self._limits.idle):
                payload = await _receive(self._connection)
            started = time.perf_counter()
            self._busy = True
            reply = await loop.run_in_executor(self._executor, self._session.answer, payload, previous_ms)
            await self._send(reply)
            self._busy = False
            previous_ms = 1000 * (time.perf_counter() - started)
            self._requests, self._total_ms = self._requests + 1, self._total_ms + previous_ms
        await self._close(GOING_AWAY, "the server stops")
        return "server stopped"

    async def _send(self, message: bytes | str) -> None:
        async with asyncio.timeout(self._limits.send):
            await self._connection.send(message)

    async def _refuse(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._send(text)
        except (ConnectionClosed, TimeoutError):
            self._connection.transport.abort()
        await self._close(INTERNAL_ERROR, "the message before tells the error")

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._limits.send + self._limits.close):
                await self._connection.close(code, reason)
        except TimeoutError:  # what was sent before is not taken
            self._connection.transport.abort()


async def _receive(connection: ServerConnection) -> bytes:
    """One binary message. Raises UserError for text, and for one in too many fragments."""
    parts: list[bytes] = []
    async for part in connection.recv_streaming():
        if isinstance(part, str):
            raise UserError("a text message: expected a map in a binary one")
        parts.append(part)
        if len(parts) > _MOST_FRAGMENTS:
            raise UserError(f"a message in more than {_MOST_FRAGMENTS} fragments")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def one_line(text: str) -> str:
    """Text that may hold a client's own, fit for a log: printable, on one line, not long."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:_LONGEST_ERROR]


def name(connection: ServerConnection) -> str:
    """Address and port of the other side."""
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "client"
