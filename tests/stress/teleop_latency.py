"""`python -m tests.stress.teleop_latency`: how well time is kept while a page steers, and when a key counts.

A session of `s2robot record teleop=browser` and a headless Chromium that presses keys at random moments, both
on this machine. Two takes, the second begun while the first is written to the disk.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.errors import UserError
from s2robot.data.store import DemoStore
from s2robot.record.options import RecordOptions
from s2robot.record.person import record_person
from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.device import Command
from s2robot.teleop.server import KIND, make_browser
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import git_state, machine, versions

CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_TAKES = 2
_KEYS = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE")
_NOTE_PRESSES = """
window.presses = [];
addEventListener("keydown", (event) => {
    if (!event.repeat) presses.push([event.code, performance.timeOrigin + event.timeStamp]);
}, true);
"""


class NotingDevice(BrowserDevice):
    """Notes when it hears of a motion and when the control loop asks for one."""

    def __init__(self, folder: Path, invitation: str) -> None:
        super().__init__(invitation)
        self._folder = folder
        self._notes: dict[str, list[float]] = {"heard": [], "asked": []}
        (folder / "address").write_text(invitation.split()[1].rstrip(";"))

    def hear(self, page: int, message: Any) -> None:
        super().hear(page, message)
        if any(message.get("motion", ())):
            self._notes["heard"].append(time.time())

    def command(self) -> Command:
        command = super().command()
        if command.moves:
            self._notes["asked"].append(time.time())
        return command

    def close(self) -> None:
        (self._folder / "notes.json").write_text(json.dumps(self._notes))
        super().close()


def record(folder: Path, options: Sequence[str]) -> None:
    """The session that is measured, in a process of its own."""
    noting = partial(make_browser, make=partial(NotingDevice, folder))
    record_person(read_options(RecordOptions, compose("record", options)), [replace(KIND, make=noting)])


def press_keys(address: str, seconds: float, rng: np.random.Generator) -> list[float]:
    """Two takes of that length at the page; returns when keys went down (seconds since 1970).

    Raises UserError where there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("no chromium on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS)).new_page()
        page.set_default_timeout(300_000)
        page.add_init_script(_NOTE_PRESSES)
        page.goto(address)
        for _ in range(_TAKES):
            page.wait_for_selector("body[data-phase=waiting]")
            page.keyboard.press("Enter")
            page.wait_for_selector("body[data-phase=recording]")
            _move_about(page, seconds, rng)
            page.keyboard.press("Enter")
            page.wait_for_selector("body[data-phase=review]")
            page.keyboard.press("KeyK")
        page.wait_for_selector(f"#demos >> text=/^{_TAKES}$/")
        presses = page.evaluate("presses")
        page.click("[data-event=finish]")
        page.click("[data-event=finish]")
        page.wait_for_selector("#veil >> text=Session over")
    return [when / 1000 for code, when in presses if code in _KEYS]


def _move_about(page: Any, seconds: float, rng: np.random.Generator) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        key = str(rng.choice(_KEYS))
        page.keyboard.down(key)
        page.wait_for_timeout(rng.uniform(200, 400))
        page.keyboard.up(key)
        page.wait_for_timeout(rng.uniform(300, 500))  # longer than a step: the next press begins from rest


def latencies(presses: Sequence[float], noted: Sequence[float]) -> dict[str, float]:
    """From each press to the first note after it, where that comes before the next press: in ms."""
    times = np.array(noted)
    ends = [*presses[1:], np.inf]
    between = [times[(times >= p) & (times < e)] for p, e in zip(presses, ends, strict=True)]
    waits = [1000 * (notes[0] - p) for p, notes in zip(presses, between, strict=True) if len(notes)]
    return {
        "presses": len(waits),
        "median_ms": round(float(np.median(waits)), 2),
        "p95_ms": round(float(np.percentile(waits, 95)), 2),
        "worst_ms": round(float(np.max(waits)), 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, writes the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.teleop_latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each of the two takes")
    parser.add_argument("--out", type=Path, default=Path("docs/results/teleop.json"))
    parser.add_argument("options", nargs="*", help="of `s2robot record`, e.g. env=toy")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="s2robot-teleop-") as name:
        folder = Path(name)
        limit = f"limit={round(given.seconds * 100)}"
        options = [*given.options, "teleop=browser", "port=0", limit, f"out={folder / 'demos'}"]
        process = multiprocessing.get_context("spawn").Process(
            target=record, args=(folder, options), daemon=True
        )
        process.start()
        presses = press_keys(_address(folder, process), given.seconds, np.random.default_rng(0))
        process.join()
        result = _result(folder, presses)
    write_json(given.out, result)
    print(f"{given.out}: {json.dumps({k: result[k] for k in ('takes', 'key_to_command', 'key_to_step')})}")


def _address(folder: Path, process: Any) -> str:
    while not (folder / "address").exists():
        if not process.is_alive():
            raise UserError("the session has ended before it began")
        time.sleep(0.05)
    return (folder / "address").read_text()


def _result(folder: Path, presses: Sequence[float]) -> dict[str, Any]:
    notes = json.loads((folder / "notes.json").read_text())
    store = DemoStore.open(folder / "demos")
    demos = [store.episode(i).attributes for i in store.ids()]
    return {
        "takes": [{"steps": demo["length"], **demo["timing"]} for demo in demos],
        "key_to_command": latencies(presses, notes["heard"]),
        "key_to_step": latencies(presses, notes["asked"]),
        "config": demos[0]["config"],
        "machine": machine(),
        "versions": versions(),
        "git": git_state(),
    }


if __name__ == "__main__":
    main()
