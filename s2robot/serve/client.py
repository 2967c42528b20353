"""A policy on another machine, as an actor: `run_episode(env, RemotePolicy("ws://host:8000"), seed=0)`.

A connection that is lost within an episode is an error (ConnectionError, TimeoutError), since the history is
lost with it: the arm has to stop. It is made anew for the first observation of an episode, when there is no
history yet. A server that then serves another policy is refused.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation, RobotSpec
from s2robot.policy.policy import N_ACTION_STEPS, ChunkExecutor
from s2robot.serve.contract import EXECUTED, RESET
from s2robot.serve.wire import pack, require_extra, unpack

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LARGEST_REPLY = 2**20  # bytes
_PAUSE = 0.2  # s between two attempts to connect


class RemotePredictor:
    """What `ChunkExecutor` and `TemporalEnsemble` ask for actions, over the network.

    Args:
        url: `ws://host:port`, or `wss://` where a proxy in front of the server speaks TLS.
        key: the server's API key.
        timeout: s that a request may take.
        wait: s that a server may take to come up, or to have a connection free.
        proxy: address of one to go through. Those of the environment (`https_proxy`) are not used.

    Raises:
        UserError: a url that is none, another key, what answers is no policy server.
        ConnectionError: nobody answers within `wait`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 5.0,
        wait: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        require_extra()
        if not url.startswith(("ws://", "wss://")):
            raise UserError(f"{url} is no address of a policy server: expected ws://host:port")
        self.url = url
        self._headers = {} if key is None else {"Authorization": f"Api-Key {key}"}
        self._timeout, self._wait, self._proxy = timeout, wait, proxy
        self._connection, self.metadata = self._connect()
        self.spec, self._chunk_size = self._read(self.metadata)
        self.reset()

    @property
    def chunk_size(self) -> int:
        """Ta, the actions of a chunk."""
        return self._chunk_size

    def reset(self) -> None:
        """A new episode: the next observation is its first."""
        self._first = True
        self._acted: list[np.ndarray] = []
        self._chunk: np.ndarray | None = None

    def observe(self, observation: Observation) -> None:
        """Sends one step's observation and the actions since the last one, and fetches a chunk.

        Raises:
            UserError: a camera is missing, or what the server says against the request.
            ConnectionError, TimeoutError: the episode is lost; `reset` begins another.
        """
        request = self._request(observation)
        try:
            self._chunk = self._exchange(request)
        except ConnectionError:
            if not self._first:
                raise
            self._reconnect()
            self._chunk = self._exchange(request)
        self._first, self._acted = False, []

    def predict(self) -> np.ndarray:
        """The chunk (Ta, Da) from the last observed step on."""
        assert self._chunk is not None, "observe comes first"
        return self._chunk

    def record_action(self, action: np.ndarray) -> None:
        """Takes note of the action asked for at the last observation."""
        self._acted.append(np.asarray(action, np.float32))

    def close(self) -> None:
        """Ends the connection; the next episode would open another."""
        self._connection.close()

    # ------------------------------------------------------------------ the connection

    def _connect(self) -> tuple[ClientConnection, dict[str, Any]]:
        """A connection and the server's metadata, as soon as there is one."""
        from websockets.exceptions import (
            InvalidHandshake,
            InvalidProxy,
            InvalidStatus,
            InvalidURI,
            ProxyError,
        )

        deadline = time.monotonic() + self._wait
        while True:
            try:
                return self._open()
            except InvalidStatus as error:
                status = error.response.status_code
                if status != 503:
                    reason = "it wants another API key" if status == 401 else f"HTTP {status}"
                    raise UserError(f"{self.url} refuses the connection: {reason}") from error
                failure: Exception = error
            except (InvalidProxy, ProxyError, ImportError) as error:  # a SOCKS proxy needs a package
                raise UserError(f"no way through proxy={self._proxy}: {error}") from error
            except (InvalidHandshake, InvalidURI) as error:
                raise UserError(f"{self.url} is no policy server: {error}") from error
            except OSError as error:
                failure = error
            if time.monotonic() > deadline:
                raise ConnectionError(f"no policy server at {self.url} after {self._wait:g} s: {failure}")
            time.sleep(_PAUSE)

    def _open(self) -> tuple[ClientConnection, dict[str, Any]]:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        connection = connect(
            self.url,
            compression=None,
            proxy=self._proxy,
            additional_headers=self._headers,
            open_timeout=self._timeout,
            close_timeout=1,
            max_size=_LARGEST_REPLY,
        )
        seconds = math.floor(self._timeout)  # a server that has stopped reading must not hold `send` for ever
        limit = struct.pack("ll", seconds, int(1e6 * (self._timeout - seconds)))
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            metadata = connection.recv(timeout=self._timeout)
        except (ConnectionClosed, TimeoutError) as error:
            connection.close()
            raise ConnectionError(f"it sent no metadata: {error}") from error
        if isinstance(metadata, str):
            raise UserError(f"{self.url} is no policy server: it said {metadata[:200]!r}")
        return connection, unpack(metadata)

    def _reconnect(self) -> None:
        self.close()
        self._connection, metadata = self._connect()
        if metadata != self.metadata:
            self.close()
            raise UserError(f"{self.url} now serves another policy than at the start: connect anew")

    def _read(self, metadata: Any) -> tuple[RobotSpec, int]:
        try:
            return RobotSpec.from_dict(metadata["robot_spec"]), int(metadata["chunk_size"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.close()
            raise UserError(
                f"{self.url} is no server of `s2robot serve`: its metadata lacks {error}"
            ) from error

    # ------------------------------------------------------------------ one request

    def _request(self, observation: Observation) -> dict[str, Any]:
        for camera in self.spec.cameras:
            if camera not in observation["images"]:
                raise unknown("camera", camera, observation["images"])
        request: dict[str, Any] = {
            f"images/{name}": observation["images"][name] for name in self.spec.cameras
        }
        request["proprio"] = np.asarray(observation["proprio"], np.float32)
        if self._first:
            request[RESET] = True
        else:
            request[EXECUTED] = np.stack(self._acted) if self._acted else np.empty((0, self.spec.action_dim))
        return request

    def _exchange(self, request: dict[str, Any]) -> np.ndarray:
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(pack(request))
            reply = self._connection.recv(timeout=self._timeout)
        except TimeoutError as error:
            self.close()  # its reply would be taken for that of the next request
            raise TimeoutError(f"{self.url} has not answered within {self._timeout:g} s") from error
        except ConnectionClosed as error:
            raise ConnectionError(f"connection to {self.url} lost: {error}") from error
        if isinstance(reply, str):
            self.close()
            raise UserError(f"{self.url}: {reply}")
        return self._actions(reply)

    def _actions(self, reply: bytes) -> np.ndarray:
        """The chunk of a reply. A server is trusted no more than a client."""
        expected = (self._chunk_size, self.spec.action_dim)
        try:
            actions = unpack(reply)["actions"]
            if actions.shape == expected and actions.dtype == np.float32 and np.isfinite(actions).all():
                return actions.copy()  # what came is read-only
            found = f"{actions.dtype} {actions.shape}"
        except (UserError, KeyError, TypeError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}"
        self.close()
        raise ConnectionError(f"{self.url} answered {found}: expected finite actions, float32 {expected}")


class RemotePolicy(ChunkExecutor):
    """An actor: executes the first `n_action_steps` actions of each chunk of a policy on another machine.

    Every observation is sent, so that the history there is complete. Arguments and errors as
    `RemotePredictor`.
    """

    def __init__(
        self,
        url: str,
        *,
        n_action_steps: int = N_ACTION_STEPS,
        key: str | None = None,
        timeout: float = 5.0,
        wait: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        self.remote = RemotePredictor(url, key=key, timeout=timeout, wait=wait, proxy=proxy)
        try:
            super().__init__(self.remote, n_action_steps)
        except UserError:
            self.close()
            raise

    @property
    def spec(self) -> RobotSpec:
        """The robot it was trained on, with the cameras it sees."""
        return self.remote.spec

    def close(self) -> None:
        """Ends the connection."""
        self.remote.close()

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
