"""`python -m tests.stress.coverage_fuzz TARGET`: coverage-guided fuzzing of what parses a stranger's bytes.

Needs atheris, kept apart from the environment (it is built for few versions of Python):

    pip install --target build/atheris atheris
    PYTHONPATH=build/atheris python -m tests.stress.coverage_fuzz wire --seconds 3600 --out build/wire.json

Bytes that are refused end in `UserError`, or in exit code 2 and a line; whatever else comes out is a finding.
One of each kind is kept: the exception and the line of s2robot that raised it. The seeds are well-formed
inputs made here; `--corpus FOLDER` keeps what libFuzzer adds to them.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# (atheris may be missing)

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Target = tuple[list[bytes], Callable[[bytes], object]]
"""Well-formed inputs, and what is done with a malformed one."""

_LARGEST = 1 << 16  # bytes of an input


def wire(folder: Path) -> Target:
    """A request to the policy server."""
    from s2robot.serve.contract import Contract
    from s2robot.serve.wire import pack
    from tests.stress.fuzz import well_formed
    from tests.stress.server_process import write_untrained

    spec = write_untrained(folder / "checkpoint", 16)
    return [pack(well_formed(spec)), pack({"reset": True})], Contract(spec).read


def metadata(folder: Path) -> Target:
    """A demo store's `zarr.json`, of the root and of an episode."""
    from s2robot.data.store import DemoStore
    from s2robot.data.validate import validate

    store = _toy_store(folder)
    names = ["zarr.json", "000000/zarr.json", "000000/action/zarr.json"]
    return _files(store, names, lambda: validate(DemoStore.open(store)))


def checkpoint(folder: Path) -> Target:
    """A checkpoint's `config.yaml`."""
    from s2robot.policy.checkpoint import load_policy
    from tests.stress.server_process import write_untrained

    policy = folder / "policy"
    write_untrained(policy, 16, cameras=("front",))
    return _files(policy, ["config.yaml"], lambda: load_policy(policy))


def overrides(folder: Path) -> Target:
    """What stands behind a command, one option a line."""
    from s2robot.config import compose
    from s2robot.config.options import read_options
    from s2robot.train.options import TrainOptions

    def run(data: bytes) -> None:
        given = data.decode(errors="surrogateescape").split("\n")
        read_options(TrainOptions, compose("train", given))

    good = [
        "demos=a\nout=b",
        "demos=[a,b]\nout=c\nencoder=tiny\nencoder.sizes=[224,448]\npolicy=mlp\nlr=3e-4",
    ]
    return [text.encode() for text in good], run


def diffusion_policy(folder: Path) -> Target:
    """A replay buffer's metadata and chunks."""
    return _exported(folder, "diffusion_policy", ("json", "zarray", "zattrs", "zgroup", "0", "0.0"))


def lerobot(folder: Path) -> Target:
    """A LeRobotDataset's JSON and Parquet."""
    return _exported(folder, "lerobot", ("json", "jsonl", "parquet"))


def robomimic(folder: Path) -> Target:
    """An HDF5 file with images."""
    import h5py
    import numpy as np

    source, out = folder / "demo.hdf5", folder / "imported"
    with h5py.File(source, "w") as file:
        demo = file.create_group("data/demo_0")
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
        demo["actions"] = np.zeros((4, 7), np.float32)
        demo["obs/robot0_eef_pos"] = np.zeros((4, 3))
        demo["obs/agentview_image"] = np.zeros((4, 8, 8, 3), np.uint8)

    load = _importer("robomimic", source, out)
    from s2robot.data.formats import robomimic as format

    format.check_hdf5 = _check_in_a_fork  # a new Python for each input would be most of the time

    def run(data: bytes) -> None:
        source.write_bytes(data)
        load()

    return [source.read_bytes()], run


TARGETS: dict[str, Callable[[Path], Target]] = {
    target.__name__: target
    for target in (wire, metadata, checkpoint, overrides, diffusion_policy, lerobot, robomimic)
}


def _toy_store(folder: Path) -> Path:
    store = folder / "demos"
    assert _run("record", "env=toy", "expert=toy", f"out={store}", "episodes=1", "workers=0") == 0
    return store


def _exported(folder: Path, format: str, endings: Sequence[str]) -> Target:
    """The toy's store in another format, imported again."""
    store, data, out = _toy_store(folder), folder / "exported", folder / "imported"
    assert _run("export", f"format={format}", f"demos={store}", f"out={data}") == 0
    paths = sorted(path for path in data.rglob("*") if path.is_file())
    names = [
        str(p.relative_to(data)) for p in paths if p.name.rpartition(".")[2] in endings or p.name in endings
    ]
    return _files(data, names, _importer(format, data, out))


def _importer(format: str, data: Path, out: Path) -> Callable[[], None]:
    """Imports the data, whatever was imported before."""
    from s2robot.config import compose
    from s2robot.config.options import read_options
    from s2robot.data.formats.command import ImportOptions, import_demos

    given = [f"format={format}", f"demos={data}", f"out={out}"]
    options = read_options(ImportOptions, compose("import", given))

    def load() -> None:
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import_demos(options)

    return load


def _check_in_a_fork(path: Path) -> None:
    from s2robot.core.errors import UserError
    from s2robot.data.formats import hdf5_check

    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # libFuzzer has one of its own
        with contextlib.suppress(BaseException):
            hdf5_check._main(str(path), 5)
        os._exit(0)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        raise UserError(f"{path} is damaged")


def _files(root: Path, names: list[str], load: Callable[[], object]) -> Target:
    """One of a folder's files is replaced, the first byte of the input says which; then it is read."""
    whole = {name: (root / name).read_bytes() for name in names}

    def run(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else names[0]
        (root / name).write_bytes(data[1:])
        try:
            load()
        finally:
            (root / name).write_bytes(whole[name])

    return [bytes([index]) + whole[name] for index, name in enumerate(names)], run


def _run(*arguments: object) -> int:
    """A command's exit code; what it prints is dropped."""
    from s2robot import cli

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return cli.main([str(a) for a in arguments])


class Findings:
    """Runs a target, and keeps one of each kind of what should not have come out."""

    def __init__(self, target: str, run: Callable[[bytes], object], out: Path) -> None:
        self._target, self._run, self._out = target, run, out
        self._kinds: dict[str, dict[str, Any]] = {}
        self._inputs, self._started, self._told = 0, time.monotonic(), 0.0

    def __call__(self, data: bytes) -> None:
        from s2robot.core.errors import UserError

        self._inputs += 1
        try:
            self._run(data)
        except UserError:
            pass
        except Exception as error:
            kind = f"{type(error).__name__} at {_line_of_ours(error)}"
            if kind not in self._kinds:
                self._kinds[kind] = {"says": str(error)[:300], "input": data[:2000].hex()}
                self.write()
        if time.monotonic() - self._told > 10:
            self.write()

    def write(self) -> None:
        """The result so far."""
        self._told = time.monotonic()
        seconds = round(self._told - self._started, 1)
        result = {
            "target": self._target,
            "inputs": self._inputs,
            "seconds": seconds,
            "cpu_seconds": round(time.process_time(), 1),
            "findings": self._kinds,
        }
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(result, indent=1))


def _line_of_ours(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "s2robot" in f.filename.split("/")]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{'/'.join(last.filename.split('/')[-3:])}:{last.lineno}"


def main() -> None:
    """Fuzzes one target for so long."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--corpus", type=Path, help="folder of inputs that is read and grows")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    given = parser.parse_args()
    import atheris

    folder = Path(tempfile.mkdtemp(prefix="s2robot-fuzz-"))
    corpus = given.corpus or folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["s2robot"]):
        seeds, run = TARGETS[given.target](folder)
    for index, seed in enumerate(seeds):
        (corpus / f"seed{index}").write_bytes(seed)
    limits = [
        f"-max_total_time={given.seconds}",
        f"-max_len={_LARGEST}",
        "-timeout=120",
        "-rss_limit_mb=6000",
    ]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], Findings(given.target, run, given.out))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
