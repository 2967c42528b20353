"""The page's server: who is let in, what is sent, and that a slow page gets fewer frames, not late ones."""

from __future__ import annotations

import io
import json
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from mistakes import refusal

from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.device import Event, Phase, Status
from s2robot.teleop.server import serve

Image = pytest.importorskip("PIL.Image", reason="needs the extra teleop")
pytest.importorskip("starlette", reason="needs the extra teleop")
client = pytest.importorskip("websockets.sync.client", reason="needs the extra teleop")
from websockets.exceptions import ConnectionClosed, InvalidHandshake  # noqa: E402

ABOUT = {"task": "pick", "cameras": ["front", "wrist"], "proprio": []}


def address(device: BrowserDevice) -> str:
    return device.invitation.split()[1].rstrip(";")


@pytest.fixture
def device() -> Iterator[BrowserDevice]:
    device = serve(ABOUT, "127.0.0.1", 0)
    yield device
    device.close()


@pytest.fixture
def guarded() -> Iterator[BrowserDevice]:
    """Bound beyond loopback."""
    device = serve(ABOUT, "0.0.0.0", 0)
    yield device
    device.close()


def get(url: str, **headers: str) -> tuple[int, Any]:
    """Status and headers of a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def connect(device: BrowserDevice, query: str | None = None, **options: Any) -> Any:
    url = urlsplit(address(device))
    return client.connect(
        f"ws://127.0.0.1:{url.port}/ws?{url.query if query is None else query}", open_timeout=30, **options
    )


def state(page: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The next state that a page is sent, and its JPEGs."""
    message = page.recv(timeout=30)
    (length,) = struct.unpack(">I", message[:4])
    header, rest = json.loads(message[4 : 4 + length]), message[4 + length :]
    jpegs = {}
    for name, size in header["cameras"].items():
        jpegs[name], rest = rest[:size], rest[size:]
    assert not rest
    return header, jpegs


def frames(value: int) -> dict[str, np.ndarray]:
    return {name: np.full((32, 32, 3), value, np.uint8) for name in ABOUT["cameras"]}


# Who is let in


def test_the_page_is_served_and_may_load_nothing_from_elsewhere(device: BrowserDevice) -> None:
    for path in ("", "page.js", "steer.js", "page.css"):
        status, headers = get(address(device) + path)
        assert status == 200
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert get(address(device) + "page.html")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8017", "192.168.0.7"])
def test_a_host_name_that_only_resolves_to_loopback_is_refused(device: BrowserDevice, host: str) -> None:
    assert get(address(device), Host=host)[0] == 403


def test_a_tunnel_with_another_port_is_let_in(device: BrowserDevice) -> None:
    assert get(address(device), Host="localhost:9999")[0] == 200


def test_another_sites_page_in_the_same_browser_is_refused(device: BrowserDevice) -> None:
    with pytest.raises(InvalidHandshake):
        connect(device, origin="http://evil.example")
    with connect(device, origin=address(device).rstrip("/")):
        pass


def test_beyond_loopback_nobody_is_let_in_without_the_token(guarded: BrowserDevice) -> None:
    url = urlsplit(address(guarded))
    bare = f"http://127.0.0.1:{url.port}/"
    assert url.query.startswith("token=") and len(url.query) > 20
    assert get(bare)[0] == 403
    assert get(f"{bare}?token=guess")[0] == 403
    assert get(f"{bare}?{url.query}")[0] == 200
    for query in ("", "token=guess", "token=%C3%A9"):
        with pytest.raises(InvalidHandshake):
            connect(guarded, query)
    with connect(guarded) as page:
        assert json.loads(page.recv(timeout=30)) == {"about": ABOUT}


def test_a_port_that_is_taken_is_told_in_one_line(device: BrowserDevice) -> None:
    port = urlsplit(address(device)).port
    said = refusal(lambda: serve(ABOUT, "127.0.0.1", port or 0))
    assert said.startswith(f"cannot serve the page at 127.0.0.1, port {port}: Address already in use; give")
    assert "port 99999" in refusal(lambda: serve(ABOUT, "127.0.0.1", 99999))
    assert "no.such.host" in refusal(lambda: serve(ABOUT, "no.such.host.invalid", 0))


# What is said


def test_a_page_is_told_the_session_then_each_state_with_its_frames(device: BrowserDevice) -> None:
    device.show(Status(message="hello", steps=3), frames(200))
    with connect(device) as page:
        assert json.loads(page.recv(timeout=30)) == {"about": ABOUT}
        header, jpegs = state(page)
        assert header["status"]["message"] == "hello"
        assert header["status"]["allowed"] == ["finish", "home", "start", "stop", "undo"]
        assert list(jpegs) == ["front", "wrist"]
        with Image.open(io.BytesIO(jpegs["wrist"])) as image:
            assert abs(int(np.asarray(image).mean()) - 200) < 3


def test_what_a_page_says_reaches_the_device(device: BrowserDevice) -> None:
    with connect(device) as page:
        page.send(json.dumps({"motion": [0, 0, 1], "focused": True}))
        page.send(json.dumps({"event": "start"}))
        page.send(json.dumps({"ping": 12.5}))
        page.recv(timeout=30)
        while not isinstance(answer := page.recv(timeout=30), str):
            pass
        assert json.loads(answer) == {"pong": 12.5}  # by then the rest has been heard, too
        assert device.command().motion.tolist() == [0, 0, 1]
        assert device.events() == [Event.START]


@pytest.mark.parametrize("nonsense", ["{", "7", '{"event": "dance"}', '{"motion": [1]}', '{"seen": "x"}'])
def test_a_page_that_talks_nonsense_is_disconnected(device: BrowserDevice, nonsense: str) -> None:
    with connect(device) as page:
        page.send(nonsense)
        assert closing_code(page) == 1003


def closing_code(page: Any) -> int:
    with pytest.raises(ConnectionClosed):
        while True:
            page.recv(timeout=30)
    return page.close_code


def test_a_page_that_draws_slowly_gets_the_newest_frame_when_it_is_ready(device: BrowserDevice) -> None:
    with connect(device) as page:
        page.recv(timeout=30)
        sent = []
        for step in range(1, 8):
            device.show(Status(phase=Phase.RECORDING, steps=step), frames(step))
            while (header := state(page)[0])["status"]["steps"] != step:
                pass
            sent.append(header["frame"])
        assert sent == [1, 2, 0, 0, 0, 0, 0], "two frames may be under way"
        page.send(json.dumps({"seen": 1}))
        header, jpegs = state(page)
        assert header["frame"] == 3 and jpegs
        assert header["status"]["steps"] == 7 and header["dropped"] == 4


def test_each_page_is_told_whether_it_steers(device: BrowserDevice) -> None:
    with connect(device) as first, connect(device) as second:
        for page, steers in ((first, True), (second, False)):
            page.recv(timeout=30)
            assert state(page)[0]["steers"] is steers
        second.send(json.dumps({"steer": True}))
        for page, steers in ((first, False), (second, True)):
            while state(page)[0]["steers"] is not steers:
                pass
        assert device.command().absence == "another window steers now"
        second.send(json.dumps({"motion": [1, 0, 0], "focused": True}))
        second.send(json.dumps({"ping": 0}))
        while not isinstance(second.recv(timeout=30), str):
            pass
        assert device.command().moves


def test_a_page_that_is_closed_is_gone(device: BrowserDevice) -> None:
    with connect(device) as page:
        page.recv(timeout=30)
        assert device.command().absence is None
        page.close()
    for _ in range(1000):
        if device.command().absence == "no page is connected":
            return
        time.sleep(0.01)
    pytest.fail("the device does not know that the page is gone")


def test_the_last_state_reaches_the_page_before_the_server_ends() -> None:
    device = serve(ABOUT, "127.0.0.1", 0)
    with connect(device) as page:
        page.recv(timeout=30)
        device.show(Status(phase=Phase.FINISHED, message="9 demos"), {})
        device.close()
        while (header := state(page)[0])["status"]["phase"] != "finished":
            pass
        assert header["status"]["message"] == "9 demos"
        assert closing_code(page) == 4000
    with pytest.raises(OSError):
        urllib.request.urlopen(address(device), timeout=5)
