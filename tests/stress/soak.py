"""`python -m tests.stress.soak`: the whole loop on the toy for hours, with faults drawn from a seed.

Record, encode, train, evaluate, serve and a robot's control loop follow each other; into each a fault is
injected: a kill, SIGTERM, SIGHUP, a stop for seconds, a full disk, a read-only one, a wall clock that jumps
back by a day; malformed messages, a cut connection; commands far off and of NaN, frames that are lost, a
camera that stops. Then the same command is run again, until it has done its work. Full and read-only disks
need a tmpfs of its own, so root: without it they are left out. The robot is an emulated one. The counts go
into a JSON file.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from envs.toy import Toy
from s2robot.policy.execution.asynchronous import AsynchronousExecutor, ChunkBlending
from s2robot.robot.cameras.camera import Camera, Frame
from s2robot.serve.client import RemotePredictor
from s2robot.utils.atomic_io import write_json
from s2robot.utils.provenance import git_state, machine, versions
from tests.stress.crash_test import Tally
from tests.stress.fault_injection import inject_faults
from tests.stress.fuzz import Attacker, well_formed
from tests.stress.fuzz import Tally as FuzzTally
from tests.stress.server_process import ServerProcess
from tests.toy_loop import ENCODER, TRAIN

_TRIES = 4  # of one command after a fault, before it counts as one that did not come back
_LONGEST = 600.0  # s for one try
_HELD = 3.0  # s that a process is stopped, or a disk is full
_STEPS, _SAVED_EVERY = 60, 6
_MALFORMED = 50  # messages to each server
_LOST_FRAMES = 0.2  # share of a camera's frames
_LARGEST_STEP = 0.15  # rad, that a command far off may move the target by
_JUMPING_CLOCK = Path(__file__).parent / "clock"


@dataclass
class Counts:
    """What was done and what came of it; all but faults, demos, steps and requests should be 0."""

    faults: Counter[str] = field(default_factory=Counter)
    steps_trained: int = 0
    steps_repeated_after_signals: int = 0
    steps_repeated_at_most: int = 0
    requests: int = 0
    unsafe_commands: int = 0
    not_come_back: list[str] = field(default_factory=list)


class Soak:
    """The services, the faults and the counts of one run."""

    def __init__(self, folder: Path, seed: int, is_own_disk: bool) -> None:
        self.folder, self.counts, self.tally = folder, Counts(), Tally()
        self._rng = np.random.default_rng(seed)
        self._faults: dict[str, Callable[[subprocess.Popen[bytes]], None]] = {
            "kill": lambda process: process.kill(),
            "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
            "SIGHUP": lambda process: process.send_signal(signal.SIGHUP),
            "SIGSTOP": _stopped,
            "clock jump": lambda process: None,  # it began with it
        }
        if is_own_disk:
            self._faults |= {"full disk": self._full_disk, "read-only disk": self._read_only}

    def cycle(self, number: int) -> None:
        """Every stage once; the demos grow, the policy is a new one."""
        demos, policy = self.folder / "demos", self.folder / f"policy{number}"
        recording = ["env=toy", "expert=toy", f"out={demos}", f"episodes={4 * (number + 1)}", "workers=1"]
        self._stage("record", recording, demos)
        self._stage("encode", [f"demos={demos}", *ENCODER, "workers=1"], demos)
        training = [o for o in TRAIN if not o.startswith(("steps=", "checkpoint_every="))]
        training += [f"steps={_STEPS}", f"checkpoint_every={_SAVED_EVERY}", "cameras=[front]"]
        self._stage("train", [f"demos={demos}", f"out={policy}", *training], demos, self._repeated)
        self.counts.steps_trained += _STEPS
        rolling = [f"checkpoint={policy}", f"out={policy / 'evaluation'}", "starts=4", "max_steps=10"]
        self._stage("evaluate", [*rolling, "workers=1"], demos)
        self._serve(policy)
        self._drive()

    def _stage(
        self, name: str, options: list[str], demos: Path, look: Callable[[str, str], None] | None = None
    ) -> None:
        """Runs a command, injects a fault, and runs it again until it has done its work."""
        said, fault = "", self._rng.choice([*self._faults, "none"])
        for attempt in range(_TRIES):
            listed = {p.name for p in demos.glob("[0-9]*")}
            code, said = self._run(name, options, str(fault) if attempt == 0 else "none")
            self.tally.inspect(demos, listed)
            if look:
                look(str(fault) if attempt == 0 else "none", said)
            if code == 0:
                return
        self.counts.not_come_back.append(f"{name} after {fault}: {said.strip().splitlines()[-1:]}")

    def _run(self, name: str, options: list[str], fault: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "s2robot.cli", name, *options]
        paths = [str(_JUMPING_CLOCK)] * (fault == "clock jump") + [os.environ.get("PYTHONPATH", "")]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with (
            tempfile.TemporaryFile() as log,  # not on the disk that is full
            subprocess.Popen(command, stdout=log, stderr=log, env=env) as process,
        ):
            if fault != "none":
                self._wait(process, float(self._rng.uniform(2, 20)))
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        self._faults[fault](process)
                    self.counts.faults[f"{name}: {fault}"] += 1
            try:
                code = process.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            log.seek(0)
            return code, log.read().decode(errors="replace")

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    def _repeated(self, fault: str, said: str) -> None:
        """After a signal the step of now is saved; after a kill those since the last save are lost."""
        saved = re.search(r"step (\d+) of \d+ is saved", said)
        if fault in ("SIGTERM", "SIGHUP") and "Traceback" in said:
            self.counts.steps_repeated_after_signals += _SAVED_EVERY
        elif fault in ("kill", "full disk", "read-only disk") and saved is None:
            self.counts.steps_repeated_at_most += _SAVED_EVERY - 1

    # ------------------------------------------------------------------ serving

    def _serve(self, policy: Path) -> None:
        """A server that gets malformed messages, and whose clients go away without a word."""
        env, tally = Toy(cameras=["front"]), FuzzTally()
        try:
            with ServerProcess(f"checkpoint={policy}") as server:
                attacker = Attacker(server.url, well_formed(env.robot_spec), int(self._rng.integers(2**31)))
                for cut in (False, True, False):
                    self._ask(server.url, env, cut)
                    for _ in range(_MALFORMED):
                        tally.add(*attacker.attack())
        except (RuntimeError, OSError) as error:
            self.counts.not_come_back.append(f"serve: {error}")
        self.counts.faults["serve: malformed message"] += 3 * _MALFORMED
        if tally.count("hang"):
            self.counts.not_come_back.append(
                f"serve: {tally.count('hang')} malformed messages without an answer"
            )

    def _ask(self, url: str, env: Toy, cut: bool) -> None:
        observation, _ = env.reset(seed=int(self._rng.integers(100)))
        with ExitStack() as stack:
            remote = RemotePredictor(url, timeout=120, wait=60)
            stack.callback(remote.close)
            for _ in range(5):
                remote.observe(observation)
                chunk = np.asarray(remote.predict())
                self.counts.requests += 1
                self.counts.unsafe_commands += not np.isfinite(chunk).all()
                remote.record_action(chunk[0])
                observation, *_ = env.step(chunk[0])
            if cut:
                self.counts.faults["serve: cut connection"] += 1
                stack.pop_all()  # the client goes without saying so

    # ------------------------------------------------------------------ a robot

    def _drive(self) -> None:
        """An emulated arm under a policy: what the safety layer lets through is counted."""
        sys.path.append(str(Path(__file__).parents[1]))  # where pytest finds these two
        from forward_policy import Forward
        from robots import FakeRobot

        env = FakeRobot()
        for name, camera in env.cameras.items():
            env.cameras[name] = _Losing(camera, np.random.default_rng(self._rng.integers(2**31)))
        blending = ChunkBlending(inference_slack=0.05, max_chunk_age=5.0)
        # The clock is turned by hand, the policy's thread lives in real time: each step waits for it.
        executor = AsynchronousExecutor(
            Forward(), env.robot_spec, env.clock.now, blending, real=lambda _: 10.0
        )
        try:
            figures = inject_faults(env, executor, float(self._rng.uniform(4, 20)))
        finally:
            executor.close()
        faults, stopped = figures["faults"], figures["stopped_before_the_last_fault"]
        self.counts.faults.update(f"robot: {name}" for name in (*faults, "lost frames"))
        self.counts.unsafe_commands += sum(
            not faults[name]["largest_step_rad"] < _LARGEST_STEP
            for name in ("beside", "nan")
            if name in faults
        )
        if stopped is None:  # frames lost one after the other stop it too, and then no fault follows
            self.counts.unsafe_commands += faults["frozen_camera"]["stopped"] is None

    # ------------------------------------------------------------------ disks

    def _full_disk(self, process: subprocess.Popen[bytes]) -> None:
        filler = self.folder / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        self._wait(process, _HELD)
        filler.unlink()

    def _read_only(self, process: subprocess.Popen[bytes]) -> None:
        """Refused while a file is open for writing: then it is another fault that is missing."""
        if subprocess.run(["mount", "-o", "remount,ro", self.folder], capture_output=True).returncode == 0:
            self._wait(process, _HELD)
            subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)


class _Losing:
    """A camera some of whose frames never arrive: the one before is the latest still."""

    def __init__(self, camera: Camera, rng: np.random.Generator) -> None:
        self._camera, self._rng = camera, rng
        self._last: Frame | None = None
        self.shape, self.open, self.close = camera.shape, camera.open, camera.close

    def latest(self) -> Frame:
        if self._last is None or self._rng.random() >= _LOST_FRAMES:
            self._last = self._camera.latest()
        return self._last


def _stopped(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(_HELD)
    process.send_signal(signal.SIGCONT)


@contextmanager
def own_disk(folder: Path) -> Iterator[bool]:
    """A tmpfs in a folder, whether it could be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", folder]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", folder], check=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs for so long, writes the counts; 1 where anything was lost or did not come back."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    given = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="s2robot-soak-") as folder, own_disk(Path(folder)) as is_own:
        soak, number = Soak(Path(folder), given.seed, is_own), 0
        while number == 0 or time.monotonic() - began < 60 * given.minutes:
            soak.cycle(number)
            number += 1
            write_json(given.out, result(soak, number, given.seed, time.monotonic() - began))
        soak.tally.inspect_again(Path(folder) / "demos")
        found = result(soak, number, given.seed, time.monotonic() - began)
    write_json(given.out, found)
    print(f"{given.out}: {', '.join(f'{name} {value}' for name, value in list(found.items())[:12])}")
    return int(
        any(found[name] for name in ("demos_lost", "demos_invalid", "unsafe_commands", "not_come_back"))
    )


def result(soak: Soak, cycles: int, seed: int, seconds: float) -> dict[str, Any]:
    """The counts, and what they are of."""
    counts, tally = soak.counts, soak.tally
    return {
        "cycles": cycles,
        "faults_injected": sum(counts.faults.values()),
        "demos_committed": len(tally.digests),
        "demos_lost": tally.committed_lost,
        "demos_unreadable": tally.unreadable,
        "demos_invalid": tally.invalid,
        "steps_trained": counts.steps_trained,
        "steps_repeated_after_signals": counts.steps_repeated_after_signals,
        "steps_repeated_at_most": counts.steps_repeated_at_most,
        "requests": counts.requests,
        "unsafe_commands": counts.unsafe_commands,
        "not_come_back": counts.not_come_back,
        "faults": dict(counts.faults),
        "seed": seed,
        "seconds": round(seconds, 1),
        "machine": machine(),
        "versions": versions(),
        "git": git_state(),
    }


if __name__ == "__main__":
    sys.exit(main())
