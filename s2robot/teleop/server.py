"""The server of the page: on loopback unless asked otherwise, for this page alone, newest frame first."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from s2robot.core.errors import UserError
from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.device import require
from s2robot.teleop.devices import DeviceKind, TeleopContext
from s2robot.teleop.page_connection import PageConnection

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

_FILES = {"/": "page.html", "/page.js": "page.js", "/steer.js": "steer.js", "/page.css": "page.css"}
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address may hold the token
    "X-Content-Type-Options": "nosniff",
}


def serve(
    about: Mapping[str, Any],
    host: str,
    port: int,
    make: Callable[[str], BrowserDevice] = BrowserDevice,
) -> BrowserDevice:
    """A device whose page is served from now on; its invitation names the address.

    Args:
        about: what the page shows of the session, fit for JSON.
        host: beyond loopback, the address holds a token without which nothing is served.
        port: 0 for any free one.
        make: the device for an invitation.

    Raises UserError where the extra `teleop` is missing or the address cannot be had.
    """
    require("browser", "teleop", "PIL", "starlette", "uvicorn", "websockets")
    listening = _listen(host, port)
    token = None if _is_loopback(host) else secrets.token_urlsafe(16)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/{f'?token={token}' if token else ''}"
    tunnel = "" if token else f" (from elsewhere: ssh -L {port}:{shown}:{port} THIS_MACHINE, then the same)"
    device = make(f"open {address}{tunnel}; Ctrl-C ends the session")
    PageServer(device, about, token).start(listening)
    return device


class PageServer:
    """uvicorn in a thread of its own."""

    def __init__(self, device: BrowserDevice, about: Mapping[str, Any], token: str | None) -> None:
        self._device, self._about, self._token = device, about, token
        self._links: set[PageConnection] = set()
        folder = Path(__file__).parent / "page"
        self._files = {path: (folder / name).read_bytes() for path, name in _FILES.items()}

    def start(self, listening: socket.socket) -> None:
        """Serves until the device is closed."""
        import uvicorn
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        pages = [Route(path, self._file) for path in _FILES]
        app = Starlette(routes=[*pages, WebSocketRoute("/ws", self._socket)])
        config = uvicorn.Config(
            app,
            log_level="error",
            lifespan="off",
            ws_max_size=4096,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="page server", daemon=True
        )
        thread.start()

        def stop() -> None:
            self._let_pages_finish()
            server.should_exit = True
            thread.join(timeout=5)

        self._device.stop, self._device.changed = stop, self._wake_links

    def _wake_links(self) -> None:
        for link in list(self._links):
            link.wake()

    def _let_pages_finish(self) -> None:
        """Lets the last state reach the pages, for a second at most."""
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline and any(not link.is_up_to_date() for link in list(self._links)):
            time.sleep(0.02)

    async def _file(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, Response

        path = request.url.path
        if not self._is_ours(request):
            return PlainTextResponse("Open the address that `s2robot record` prints.\n", 403)
        return Response(self._files[path], media_type=_TYPES[Path(_FILES[path]).suffix], headers=_HEADERS)

    async def _socket(self, websocket: WebSocket) -> None:
        if not self._is_ours(websocket):
            await websocket.close(1008)
            return
        await websocket.accept()
        link = PageConnection(self._device, websocket)
        self._links.add(link)
        try:
            await link.run(self._about)
        finally:
            self._links.discard(link)

    def _is_ours(self, connection: HTTPConnection) -> bool:
        """Whether a request comes from somebody who was given the address.

        On loopback a stranger's page in the same browser could ask too: its origin or host name betrays it.
        """
        headers, host = connection.headers, connection.headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return False
        if self._token is None:
            return _is_loopback(urlsplit(f"//{host}").hostname or "")
        given = connection.query_params.get("token", "")
        is_static = connection.url.path in _FILES and connection.url.path != "/"
        return is_static or secrets.compare_digest(given.encode(), self._token.encode())


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", error)
        raise UserError(
            f"cannot serve the page at {host}, port {port}: {reason}; "
            "give another host= or port= (0: any free one)"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


@dataclass(frozen=True)
class BrowserOptions:
    """The options of `teleop=browser`."""

    host: str
    port: int


def make_browser(
    options: BrowserOptions,
    context: TeleopContext,
    make: Callable[[str], BrowserDevice] = BrowserDevice,
) -> BrowserDevice:
    """The page of a session, served."""
    return serve(context.about, options.host, options.port, make)


KIND = DeviceKind(BrowserOptions, make_browser)
