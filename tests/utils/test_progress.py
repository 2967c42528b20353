"""Progress bars in a log."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from s2robot.utils.progress import Progress

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_log_it_leaves_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    assert list(Progress(range(1000), desc="read", unit="demo", mininterval=0)) == list(range(1000))
    with Progress(total=3, desc="record", unit="demo", mininterval=0) as progress:
        for failures in range(2):
            progress.set_postfix(failures=failures)
            progress.update()
        assert log.getvalue().count("\n") == 1
    Progress(range(3), disable=True).close()
    read, record, rest = log.getvalue().split("\n")
    assert read.startswith("read: 1000 of 1000 demo in 00:00, ")
    assert record.startswith("record: 2 of 3 demo in 00:00, ") and record.endswith("failures=1")
    assert rest == ""


def test_an_unknown_total_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with Progress(desc="download", unit="B", unit_scale=True) as progress:
        progress.update(2_000_000)
    assert log.getvalue().startswith("download: 2.00M B in 00:00, ")


def test_on_a_terminal_it_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    list(Progress(range(10), mininterval=0))
    assert screen.getvalue().count("\r") > 5


def test_every_bar_is_one_of_these() -> None:
    folders = ("s2robot", "envs", "demos", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    importing = re.compile(r"^ *(from|import) tqdm", re.MULTILINE)
    assert {path.name for path in paths if importing.search(path.read_text())} == {"progress.py"}
