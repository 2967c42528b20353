"""Our training beside that of other projects: the same demos and threads, one after the other.

lerobot's ACT and Diffusion Policy train in lerobot's environment, the Diffusion Policy of its authors in one
of its own. Each is configured as its authors do: what a step costs is compared, not equal work.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from s2robot.bench import own_training, peer_training
from s2robot.bench.options import BenchOptions
from s2robot.bench.own_training import Setting
from s2robot.core.errors import UserError
from s2robot.data.formats import diffusion_policy
from s2robot.data.formats.lerobot.files import V30
from s2robot.data.formats.lerobot.writer import write
from s2robot.data.formats.replay_buffer import camera_array
from s2robot.integrations.lerobot.environment import clean_env

Row = dict[str, Any]


def measure(bench: BenchOptions) -> tuple[dict[str, Any], Iterator[str]]:
    """What `s2robot bench peers` finds. A peer that fails is a row that says why."""
    setting = Setting.of(bench)
    rows: dict[str, Row] = {}
    with TemporaryDirectory(prefix="s2robot-bench-", dir=bench.scratch) as folder:
        for name, train in _policies(setting, Path(folder)).items():
            print(f"training {name}", flush=True)
            try:
                rows[name] = _rates(train(), setting)
            except UserError as error:
                rows[name] = {"failed": str(error)}
    about = {"demos": len(setting.used), "windows_of_all_demos": setting.windows, "device": "cpu"}
    about |= {"batch_size": setting.options.batch_size, "threads": setting.threads}
    return {"policies": rows, **about, "train": list(bench.training)}, _lines(rows)


def _policies(setting: Setting, scratch: Path) -> dict[str, Callable[[], Row]]:
    """Name -> what trains it. Raises UserError where an environment is missing."""
    section = setting.bench.peers
    trainings: dict[str, Callable[[], Row]] = {"s2robot": partial(own_training.train, setting, scratch)}
    if section.lerobot:
        python = setting.bench.lerobot.find_python()
        for policy in section.lerobot:
            trainings[f"lerobot {policy}"] = partial(_lerobot, setting, scratch, python, policy)
    own = section.diffusion_policy
    if (own.code is None) != (own.environment is None):
        raise UserError("peers.diffusion_policy needs both, code=CLONE and environment=FOLDER")
    if own.code is not None and own.environment is not None:
        code, python = Path(own.code).absolute(), Path(own.environment, "bin", "python")
        trainings["diffusion_policy"] = partial(_diffusion_policy, setting, scratch, python, code)
    return trainings


def _lerobot(setting: Setting, scratch: Path, python: Path, policy: str) -> Row:
    folder = scratch / "lerobot"
    if not folder.exists():
        write(setting.outgoing, folder, V30, images="image", instruction="")
    return _run(python, setting, {"policy": policy, "demos": str(folder)})


def _diffusion_policy(setting: Setting, scratch: Path, python: Path, code: Path) -> Row:
    folder = scratch / "demos.zarr"
    diffusion_policy.write(setting.outgoing, folder, frames_per_chunk=1)
    cameras = [camera_array(camera) for camera in setting.used.spec.cameras]
    return _run(python, setting, {"code": str(code), "demos": str(folder), "cameras": cameras})


def _run(python: Path, setting: Setting, given: dict[str, Any]) -> Row:
    """What the peer's process says. Raises UserError with its last line where it fails."""
    section = setting.bench.peers
    given = given | {"batch_size": setting.options.batch_size, "threads": setting.threads}
    given |= {"seed": setting.bench.seed, "steps": section.steps, "seconds": section.seconds}
    with TemporaryDirectory(prefix="s2robot-bench-", dir=setting.bench.scratch) as home:
        env = clean_env() | {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        command = [python, "-I", peer_training.__file__, json.dumps(given)]
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise UserError(f"{python} does not start: {error.strerror}") from error
    if done.returncode < 0:
        raise UserError(f"its process was ended by signal {-done.returncode}: is there enough memory?")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise UserError(lines[-1] if lines else f"{python} ended with {done.returncode}")
    return {**json.loads(done.stdout), "precision": "fp32"}


def _rates(found: Row, setting: Setting) -> Row:
    """With windows a second, and the hours that its authors' usual training would take at that rate."""
    steps_per_second = found["steps"] / found["seconds"]
    rate = steps_per_second * setting.options.batch_size
    row = {"steps_per_second": steps_per_second, "windows_per_second": rate, **found}
    row.setdefault("usual_windows", row.get("usual_epochs", 0) * setting.windows)
    hours = row["usual_windows"] / rate / 3600
    if "encode_seconds_a_window" in row:
        encoding = row["encode_seconds_a_window"] * setting.windows / 3600
        row["windows_per_second_with_encoding"] = row["usual_windows"] / 3600 / (hours + encoding)
        hours += encoding
    return row | {"usual_hours": hours}


def _lines(rows: dict[str, Row]) -> Iterator[str]:
    titles = ("windows/s", "steps/s", "trained", "frozen", "image px", "memory", "its usual training")
    yield f"{'':26}" + " ".join(map("{:>10}".format, titles))
    for name, row in rows.items():
        if "failed" in row:
            yield f"{name:26}failed: {row['failed']}"
            continue
        millions = [f"{row[kind] / 1e6:.1f} M" for kind in ("trained_parameters", "frozen_parameters")]
        size, memory = ", ".join(map(str, row["image_size"])), f"{row['peak_memory'] / 1e9:.1f} GB"
        rates = [f"{row['windows_per_second']:.2f}", f"{row['steps_per_second']:.4f}"]
        usual = f"{row['usual_windows']:,} windows, {row['usual_hours']:.2f} h (arithmetic)"
        yield f"{name:26}" + " ".join(map("{:>10}".format, (*rates, *millions, size, memory, usual)))
        if rate := row.get("windows_per_second_with_encoding"):
            yield f"{'  and encoding, once':26}{rate:10.2f}"
