"""The targets of the fuzzer take what is well-formed, and tell a refusal from a finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s2robot.core.errors import UserError
from tests.stress.coverage_fuzz import TARGETS, Findings


@pytest.mark.parametrize("name", TARGETS)
def test_a_well_formed_input_is_taken_and_noise_is_refused(name: str, tmp_path: Path) -> None:
    seeds, run = TARGETS[name](tmp_path)
    for seed in seeds if name != "wire" else seeds[:1]:
        run(seed)
    with pytest.raises(UserError):
        run(b"\0\xff{[:\xfe")


def test_a_finding_is_kept_once_with_its_input(tmp_path: Path) -> None:
    def run(data: bytes) -> None:
        raise UserError("refused") if data == b"bad" else ZeroDivisionError("a fault")

    found = Findings("wire", run, tmp_path / "found.json")
    for data in (b"bad", b"worse", b"worst"):
        found(data)
    found.write()
    result = json.loads((tmp_path / "found.json").read_text())
    assert result["inputs"] == 3 and [v["input"] for v in result["findings"].values()] == [b"worse".hex()]
