"""`s2robot doctor` on this machine, and on this machine with something broken."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from published_file import checkpoint
from range_server import serving

import s2robot
from s2robot import doctor
from s2robot.utils import provenance
from s2robot.vision import describe
from s2robot.vision.describe import NAMES
from s2robot.vision.encoders import pretrained, published
from s2robot.vision.encoders.encoder import Architecture
from s2robot.vision.encoders.mvp import ARCHITECTURES, EMBEDDED

ROOT = Path(s2robot.__file__).parents[1]


def run_doctor(*overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "s2robot.cli", "doctor", *overrides]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)


def test_a_healthy_machine() -> None:
    done = run_doctor("json=true")
    report = json.loads(done.stdout)
    status = {check["name"]: check["status"] for check in report["checks"]}
    assert (done.returncode, report["ok"]) == (0, True)
    assert {status[name] for name in ("Python", "torch", "robosuite", "imports", "rendering")} == {"ok"}
    assert {"processor", "GPU", "memory", "disk", "encoders", "published"} <= set(status)
    assert report["versions"]["zarr"] == provenance.installed_version("zarr")
    assert report["machine"]["cores"] >= 1


def test_without_gl_the_loop_cannot_run_and_one_line_mends_it(no_osmesa: dict[str, str]) -> None:
    done = run_doctor(**no_osmesa)
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert done.returncode == 1
    assert len(problems) == 1
    assert problems[0].split()[1] == "rendering"
    assert problems[0].endswith("-> apt-get install libosmesa6 (as root)")
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()[: len(provenance.PACKAGES) + 9]
    assert all((" -> " in line) == line.startswith(("problem", "warning")) for line in lines)


def test_an_unknown_back_end_names_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    check = doctor.check_rendering(60)
    assert check.status == "problem"
    assert "nonsense" in check.found
    assert "MUJOCO_GL=osmesa" in check.mend


def test_a_trial_that_hangs_is_ended() -> None:
    check = doctor.check_rendering(timeout=0.01)
    assert check.status == "problem"
    assert check.found.endswith("not finished after 0.01 s")


def test_packages_are_compared_with_the_tested_versions() -> None:
    numpy = provenance.installed_version("numpy")
    names = ("numpy", "zarr", "no-such-package", "scipy")
    checks = doctor.check_packages(names, {"numpy": str(numpy), "zarr": "0.0.1", "no-such-package": "1"})
    assert [check.status for check in checks] == ["ok", "warning", "problem", "ok"]
    assert checks[1].mend == "pip install zarr==0.0.1"
    assert "make setup" in checks[2].mend


def test_the_tested_versions_cover_what_the_loop_needs() -> None:
    tested = doctor.tested_versions()
    assert set(provenance.PACKAGES) <= set(tested)
    assert tested["robosuite"] == "1.5.1"


def test_an_unsupported_python_is_a_problem() -> None:
    assert doctor.check_python((3, 12)).status == "ok"
    assert doctor.check_python((3, 13)).status == "problem"
    assert doctor.check_python((3, 10)).mend == "make the environment with Python 3.11 or 3.12"


def test_encoders_need_weights_beside_their_cards(tmp_path: Path) -> None:
    assert doctor.check_encoders(tmp_path).status == "warning"
    (tmp_path / "one.json").write_text("{}")
    assert doctor.check_encoders(tmp_path).status == "problem"
    (tmp_path / "one.safetensors").touch()
    assert doctor.check_encoders(tmp_path) == doctor.Check("encoders", "ok", "one")


def doctor_encoders(capsys: pytest.CaptureFixture[str], **options: object) -> tuple[int, str]:
    code = doctor.main(OmegaConf.create({"encoders": True, "json": False, "timeout": 1.0} | options))
    return code, capsys.readouterr().out


def test_every_encoder_is_fetched_checked_and_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(checkpoint(48, 2, 14), tmp_path / "file.pth")
    content = (tmp_path / "file.pth").read_bytes()
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(ARCHITECTURES, "base", Architecture(48, 2, 12))
    for name in published.PUBLISHED:
        entry = published.Published("base", f"{name}.pth", hashlib.md5(content).hexdigest())
        monkeypatch.setitem(published.PUBLISHED, name, entry)
    own = (*EMBEDDED, *published.PUBLISHED)
    monkeypatch.setattr(describe, "NAMES", own)
    assert doctor.check_published().found.startswith(f"none in {tmp_path / 'cache'}")
    with serving(content) as server:
        monkeypatch.setattr(published, "SOURCE", server.url)
        code, out = doctor_encoders(capsys)
        server.status = 404
        again = doctor_encoders(capsys)
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[: len(own)]] == [["ok", name] for name in own]
    assert lines[len(own) :] == ["", "the encoders can run here"]
    assert all("; CLS mean " in line and "; patches mean " in line for line in lines[: len(own)])
    assert len({line.partition("parameters")[2] for line in lines[len(EMBEDDED) : len(own)]}) == 1, (
        "they are one file"
    )
    assert (code, (code, out)) == (0, again), "the second time from the cache, with the same numbers"
    assert "mvp-base-egosoup, mvp-large-egosoup, " in doctor.check_published().found


def test_offline_each_encoder_that_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path))
    monkeypatch.setattr(published, "SOURCE", "http://127.0.0.1:9/")
    monkeypatch.setattr(pretrained, "HF_HUB_OFFLINE", True)
    code, out = doctor_encoders(capsys, json=True)
    report = json.loads(out)
    assert (code, report["ok"]) == (1, False)
    assert [check["name"] for check in report["checks"]] == list(NAMES)
    for check in report["checks"]:
        if check["name"] in pretrained.PRETRAINED:
            file = f"{tmp_path}/encoders/{check['name']}.safetensors"
            assert check["status"] == "problem" and f" at {file}, and the hub gives none" in check["found"]
        elif check["name"] in published.PUBLISHED:
            entry = published.PUBLISHED[check["name"]]
            assert check["status"] == "problem"
            assert check["found"].startswith(f"cannot fetch {entry.address} (")
            assert f"put that file (md5 {entry.md5}) at {tmp_path}/encoders/" in check["found"]
        else:
            assert check["status"] == "ok"
