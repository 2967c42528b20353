"""The openpi websocket protocol over a `Service`: who is let in, health, shutdown.

On connection the server sends its metadata; each binary message is a request and has one binary reply. A
request that is refused is answered by one text message, and the connection closed with 1011.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING

from s2robot.core.errors import UserError
from s2robot.serve.connection import Client, Limits, name
from s2robot.serve.session import Service, Session
from s2robot.serve.wire import pack, require_extra

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

log = logging.getLogger(__name__)

TRY_LATER = 1013
SHORTEST_KEY = 16  # characters
_MOST_UNREAD = 256 * 1024  # bytes that a client makes the server write and does not read


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, key: str | None) -> None:
    """Raises UserError where others could connect without a key, or with one that is easily guessed."""
    if key is None and not is_loopback(host):
        raise UserError(f"host={host} can be reached by others: give an API key (docs/serve.md)")
    if key is not None and (len(key) < SHORTEST_KEY or not key.isascii() or key != key.strip()):
        raise UserError(f"API key of {len(key)} characters: expected {SHORTEST_KEY} or more, in ASCII")


class PolicyServer:
    """Answers requests over websockets, each connection with a history of its own.

    Inference runs in one thread, one request at a time in the order of their arrival; a connection has at
    most one there. Raises UserError as `check_access`.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        require_extra()
        check_access(host, key)
        self.service = service
        self.host, self.port, self.limits = host, port, limits or Limits()
        self._authorization = None if key is None else f"Api-Key {key}".encode()
        self._clients: set[Client] = set()
        self._stopping = False

    async def run(
        self, stop: asyncio.Event, started: Callable[[str, int], None] = lambda host, port: None
    ) -> None:
        """Serves until `stop` is set; what is being answered then is still answered.

        Args:
            started: is given the address and the port once connections are accepted.

        Raises UserError where the address cannot be listened on.
        """
        self._metadata = pack(self.service.metadata())
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        try:
            server = await self._listen()
            started(*server.sockets[0].getsockname()[:2])
            watch = asyncio.create_task(_watch(server))
            await stop.wait()
            watch.cancel()
            await self._shut_down(server)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> Server:
        from websockets.asyncio.server import serve

        quiet = logging.getLogger(f"{__name__}.websockets")  # it logs a traceback for each bad handshake
        quiet.setLevel(logging.CRITICAL + 1)
        try:
            return await serve(
                self._serve,
                self.host,
                self.port,
                compression=None,
                origins=[None],  # browsers always name one: no web page may call
                process_request=self._admit,
                open_timeout=self.limits.handshake,
                close_timeout=self.limits.close,
                max_size=self.limits.message,
                max_queue=1,
                logger=quiet,
                create_connection=_bounded(4 * self.limits.connections + 16),
            )
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot listen on {self.host}:{self.port}: {reason}") from error

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers what is no request for a connection; None lets it in."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self._authorization is not None:
            given = request.headers.get_all("Authorization")
            encoded = given[0].encode(errors="surrogateescape") if len(given) == 1 else b""
            if not hmac.compare_digest(encoded, self._authorization):
                log.info("%s: refused, no or another API key", name(connection))
                return connection.respond(HTTPStatus.UNAUTHORIZED, "expected Authorization: Api-Key KEY\n")
        if self._is_full():
            log.info("%s: refused, all %d connections are taken", name(connection), len(self._clients))
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "all connections are taken\n")
        return None

    def _is_full(self) -> bool:
        return self._stopping or len(self._clients) >= self.limits.connections

    async def _serve(self, connection: ServerConnection) -> None:
        if self._is_full():  # since it was admitted
            await connection.close(TRY_LATER, "all connections are taken")
            return
        client = Client(connection, Session(self.service), self._executor, self.limits)
        self._clients.add(client)
        try:
            await client.serve(self._metadata)
        finally:
            self._clients.discard(client)

    async def _shut_down(self, server: Server) -> None:
        """Closes idle connections, lets busy ones have their reply, then cuts off what is left."""
        self._stopping = True
        server.close(close_connections=False)
        try:
            async with asyncio.timeout(self.limits.stop):
                await asyncio.gather(*(client.stop() for client in self._clients))
                await server.wait_closed()
        except TimeoutError:
            for connection in list(server.handlers):
                connection.transport.abort()


def _bounded(most: int) -> type[ServerConnection]:
    """Connections of which at most so many exist, with those that have not finished their handshake."""
    from websockets.asyncio.server import ServerConnection
    from websockets.protocol import State

    class Bounded(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            there = [c for c in self.server.handlers if not c.transport.is_closing()]
            if len(there) > most:
                waiting = (c for c in there if c.protocol.state is State.CONNECTING)
                next(waiting, self).transport.abort()  # the oldest of them

    return Bounded


async def _watch(server: Server) -> None:
    """Cuts off who makes the server write (pongs) and does not read."""
    while True:
        await asyncio.sleep(0.5)
        for connection in list(server.handlers):
            if connection.transport.get_write_buffer_size() > _MOST_UNREAD:
                log.info("%s: cut off, it does not read", name(connection))
                connection.transport.abort()
