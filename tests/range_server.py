"""A file server on loopback that breaks off, forgets to resume and refuses, as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, how, and what was asked for.

    Attributes:
        ranges: whether `Range` is honoured.
        break_after: bytes after which an answer ends too early, one entry an answer; whole ones then.
        asked: the `Range` header of each request, empty where it had none.
        sent: bytes of all answers' bodies.
    """

    content: bytes
    ranges: bool = True
    status: int = 200
    break_after: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            server.asked.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
            if server.status != 200 or start >= len(server.content):
                self.send_error(416 if server.status == 200 else server.status)
            else:
                self.answer(server.content[start:], 206 if start else 200)

        def answer(self, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            part = body[: server.break_after.pop(0)] if server.break_after else body
            self.wfile.write(part)
            server.sent += len(part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
