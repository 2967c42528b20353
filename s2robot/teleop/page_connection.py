"""One connected page: what it says goes to the device, what the device shows goes to it, newest first."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s2robot.teleop.browser import BrowserDevice, PageState
from s2robot.teleop.device import Images, Phase

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

_AHEAD = 2  # frames under way to the page: more would only be shown late
_QUALITY = 80  # of JPEG: some 20 kB for 448 px
_NONSENSE, _OVER = 1003, 4000  # why a page is disconnected, as page.js knows it


class PageConnection:
    """Sends the newest state, and frames as quickly as the page draws them: those between are left out."""

    def __init__(self, device: BrowserDevice, websocket: WebSocket) -> None:
        self._device, self._websocket = device, websocket
        self._loop, self._awake = asyncio.get_running_loop(), asyncio.Event()
        self._sending = asyncio.Lock()
        # What was sent last: nothing, so that what is shown now is sent first.
        self._number, self._told = -1, False
        self._frame = device.shown.frame - bool(device.shown.images)
        self._sent = self._seen = self._dropped = 0  # frames sent, drawn by the page, left out

    def wake(self) -> None:
        """There is something new to send; called in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._awake.set)

    def is_up_to_date(self) -> bool:
        """Whether the page was sent the newest state."""
        return self._number == self._device.shown.number

    async def run(self, about: Mapping[str, Any]) -> None:
        """Returns when the page is gone or the session is over."""
        from starlette.websockets import WebSocketDisconnect

        page = self._device.connect()
        tasks = [asyncio.create_task(part) for part in (self._hear(page), self._send(page))]
        try:
            await self._send_text({"about": about})
            self._awake.set()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if code := done.pop().result():
                await self._websocket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # it left while something was being sent
            pass
        finally:
            self._device.disconnect(page)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, page: int) -> int:
        """Hears the page until it is gone (0) or talks nonsense (the code to close with)."""
        async for text in self._websocket.iter_text():
            try:
                message = json.loads(text)
                if "ping" in message:
                    await self._send_text({"pong": message["ping"]})
                elif "seen" in message:
                    self._seen = int(message["seen"])
                    self._awake.set()
                else:
                    self._device.hear(page, message)
            except (ValueError, TypeError):
                return _NONSENSE
        return 0

    async def _send(self, page: int) -> int:
        """Sends whatever is new until there is a reason to end: the code to close with."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            shown, steers = self._device.shown, self._device.steers(page)
            fresh = shown.frame != self._frame and self._sent - self._seen < _AHEAD
            if fresh or shown.number != self._number or steers != self._told:
                await self._send_state(shown, shown.images if fresh else {}, steers)
            if shown.status["phase"] == Phase.FINISHED:
                return _OVER

    async def _send_state(self, shown: PageState, images: Images, steers: bool) -> None:
        """One message: the length of a JSON header (4 bytes), the header, a JPEG for each camera."""
        jpegs = await asyncio.to_thread(_jpegs, images)
        if images:
            self._count_dropped(shown)
            self._frame, self._sent = shown.frame, self._sent + 1
        header = {
            "status": shown.status,
            "steers": steers,
            "dropped": self._dropped,
            "frame": self._sent if images else 0,
            "cameras": {name: len(jpeg) for name, jpeg in jpegs.items()},
        }
        text = json.dumps(header).encode()
        async with self._sending:
            await self._websocket.send_bytes(struct.pack(">I", len(text)) + text + b"".join(jpegs.values()))
        self._number, self._told = shown.number, steers

    def _count_dropped(self, shown: PageState) -> None:
        """Counts the frames of a running take that the page does not get to see."""
        if shown.status["phase"] == Phase.RECORDING:
            self._dropped = self._dropped + shown.frame - self._frame - 1 if shown.status["steps"] else 0

    async def _send_text(self, message: dict[str, Any]) -> None:
        async with self._sending:
            await self._websocket.send_text(json.dumps(message))


def _jpegs(images: Images) -> dict[str, bytes]:
    from PIL import Image

    encoded = {}
    for name, frame in images.items():
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=_QUALITY)
        encoded[name] = buffer.getvalue()
    return encoded
