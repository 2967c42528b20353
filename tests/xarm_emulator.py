"""An xArm's control box as its SDK sees it: private Modbus TCP frames on one port. Ours, for tests.

Requests are `>HHH` (transaction, protocol, length), a function byte and parameters; replies likewise, with a
state byte before their content. Joints go where they are told at once.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

VERSION = b"6,6,XI1300000,AC1300000,v2.0.0"
GET_VERSION, MOTION_EN, SET_STATE, GET_STATE = 1, 11, 12, 13
GET_ERROR, CLEAN_ERR, CLEAN_WAR, SET_MODE, SERVO_J, GET_JOINTS = 15, 16, 17, 19, 29, 42
_ERROR_BIT = 0x40


class XArmEmulator:
    """Serves from `with` to its end.

    Attributes:
        joints: (7,) rad. targets: all that servo_j has asked for. error: code of a fault, 0 for none.
        mode, state: as set. silent: whether it has stopped to answer.
    """

    def __init__(self) -> None:
        self.joints = [0.0, -0.5, -0.8, 0.0, 1.3, 0.0, 0.0]
        self.targets: list[list[float]] = []
        self.error, self.mode, self.state = 0, 0, 0
        self.enabled = self.silent = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._connections: list[socket.socket] = []

    def __enter__(self) -> XArmEmulator:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.cut()
        self.hang_up()

    def hang_up(self) -> None:
        """Answers nobody any more; closed alone, the socket takes the caller that `accept` waits for."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def cut(self) -> None:
        """Ends all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            for transaction, protocol, function, content in _frames(connection):
                if function == 0 or self.silent:  # a heartbeat
                    continue
                reply = self._answer(function, content)
                state = _ERROR_BIT if self.error else 0
                head = struct.pack(">HHHBB", transaction, protocol, len(reply) + 2, function, state)
                connection.sendall(head + reply)
        except OSError:
            return

    def _answer(self, function: int, content: bytes) -> bytes:
        match function:
            case 1 | 2:
                return VERSION.ljust(40, b"\0")
            case 11:
                self.enabled = bool(content[1])
            case 12:
                self.state = content[0]
            case 13:
                return bytes([self.state if self.state else 2])
            case 14:
                return b"\0\0"
            case 15:
                return bytes([self.error, 0])
            case 16:
                self.error = 0
            case 19:
                self.mode = content[0]
            case 29:
                angles = list(struct.unpack("<7f", content[:28]))
                if self.enabled and self.mode == 1 and self.state == 0 and not self.error:
                    self.targets.append(angles)
                    self.joints = angles
            case 42:
                return struct.pack("<7f", *self.joints)
        return b"\0" * 64 if function not in (11, 12, 16, 17, 19, 29) else b""


def _frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    stream = connection.makefile("rb")
    while head := stream.read(6):
        transaction, protocol, length = struct.unpack(">HHH", head)
        body = stream.read(length)
        yield transaction, protocol, body[0], body[1:]


@contextmanager
def emulated() -> Iterator[XArmEmulator]:
    """An emulator at the port that the SDK will call (its own, 502, needs root)."""
    from xarm.core.config.x_config import XCONF

    before = XCONF.SocketConf.TCP_CONTROL_PORT
    with XArmEmulator() as emulator:
        XCONF.SocketConf.TCP_CONTROL_PORT = emulator.port
        try:
            yield emulator
        finally:
            XCONF.SocketConf.TCP_CONTROL_PORT = before
