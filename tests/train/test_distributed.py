"""One command on one process or many: the same features, the same curve."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loopback import free_port
from test_train_run import DATASET, begun, options, windows
from toy_loop import ENCODER, curves, train, training

from s2robot.core.errors import UserError
from s2robot.train.batches import Batches
from s2robot.train.run import Trainer
from s2robot.utils.distributed import World, join_world


@given(st.integers(1, 6), st.lists(st.integers(), max_size=20))
def test_shares_are_even_and_make_the_whole(size: int, items: list[int]) -> None:
    shares = [World(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(), max_size=20))
def test_each_machine_does_for_itself_all_there_is(machines: int, each: int, items: list[int]) -> None:
    for machine in range(machines):
        ranks = range(machine * each, (machine + 1) * each)
        shares = [World(rank, machines * each, each).share_of_machine(items) for rank in ranks]
        assert sorted(item for share in shares for item in share) == sorted(items)


def test_alone_a_process_leads_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_world() as world:
        assert world == World() and world.leads
        world.wait()
        assert world.total(torch.ones(2)).tolist() == [1, 1]


LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_NUM_TASKS")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK and MASTER_ADDR and MASTER_PORT: torchrun sets all"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "srun started 2 processes that do not know each other"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
            "RANK=2 WORLD_SIZE=2: expected whole numbers, RANK from 0 and below WORLD_SIZE",
        ),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], said: str
) -> None:
    for name in LAUNCH:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught, join_world():
        pass
    assert str(caught.value).startswith(said)


def find_the_local_size(rank: int, port: int, out: Path) -> None:
    """As Kubeflow starts a process: nothing says how many there are on a machine."""
    os.environ.pop("LOCAL_WORLD_SIZE", None)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join_world() as world:
        (out / str(rank)).write_text(json.dumps([world.rank, world.size, world.local_size]))


def test_processes_find_out_how_many_they_are_on_a_machine(tmp_path: Path) -> None:
    context, port = multiprocessing.get_context("forkserver"), free_port()
    context.set_forkserver_preload(["s2robot.train.run"])  # which takes seconds to import
    processes = [context.Process(target=find_the_local_size, args=(r, port, tmp_path)) for r in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [json.loads((tmp_path / str(rank)).read_text()) for rank in (0, 1)] == [[0, 2, 2], [1, 2, 2]]


def test_processes_share_the_cores_they_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [World(0, 4, 4).threads(asked) for asked in (None, 3)] == [2, 3]
    assert World(0, 16, 16).threads(None) == 1


def test_a_device_is_the_one_asked_for() -> None:
    assert World().device("cpu") == torch.device("cpu")
    assert World(5, 8, 4).device("cuda") == torch.device("cuda", 1)


def take_steps(rank: int, size: int, port: int, grad_accum_steps: int, out: Path) -> None:
    """What a process of a training does, of which process 0 writes the losses down."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    given = options("policy.action_noise=0.1")
    with join_world() as world:
        assert (world.rank, world.size) == (rank, size)
        sizes = {"rank": rank, "processes": size, "grad_accum_steps": grad_accum_steps}
        batches = Batches(len(DATASET), 8, 0, 0, 4, **sizes)
        trainer = Trainer(given, begun(given), world)
        losses = [trainer.step([windows(*part) for part in parts]) for parts in batches]
        if world.leads:
            out.write_text(json.dumps(losses))


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_the_steps_of_two_processes_are_those_of_one(tmp_path: Path, grad_accum_steps: int) -> None:
    """Of a server that has the modules, and has computed no gradient: after one a fork cannot."""
    losses = {}
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["s2robot.train.run"])  # which takes seconds to import
    for size in (1, 2):
        out, port = tmp_path / f"{size}.json", free_port()
        arguments = (size, port, grad_accum_steps if size > 1 else 1, out)
        processes = [server.Process(target=take_steps, args=(rank, *arguments)) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(300)
            assert process.exitcode == 0
        losses[size] = json.loads(out.read_text())
    assert len(losses[2]) == 4
    for one, two, rel in zip(losses[1], losses[2], (1e-4, 1e-2, 1e-2, 1e-2), strict=True):
        assert two == pytest.approx(one, rel=rel)


def torchrun(processes: int, *arguments: str) -> None:
    """Runs the command line on as many processes; fails with what they said."""
    start = ("-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={free_port()}")
    done = subprocess.run(
        [sys.executable, *start, "--master-addr=127.0.0.1", "-m", "s2robot.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]


SAME = ("cameras=[front]", "policy.pooling_dropout=0", "val_fraction=0.25", "steps=20", "lr=0.003")


@pytest.mark.slow
@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_two_processes_train_as_one_does(toy_store: Path, tmp_path: Path, grad_accum_steps: int) -> None:
    """Dropout is each process's own: without it the curves are the same."""
    one = train(toy_store, tmp_path / "one", *SAME)
    torchrun(2, *training(toy_store, tmp_path / "two", *SAME, f"grad_accum_steps={grad_accum_steps}"))
    expected, found = curves(one), curves(tmp_path / "two")
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        np.testing.assert_allclose(found[name], points, rtol=1e-2, err_msg=name)


@pytest.mark.slow
def test_two_processes_encode_what_one_does(toy_demos: Path, tmp_path: Path) -> None:
    files = []
    for processes in (1, 2):
        root = tmp_path / str(processes)
        torchrun(processes, "encode", f"demos={toy_demos}", f"features={root}", *ENCODER, "workers=0")
        files.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*.npy")})
    assert files[0] == files[1]
    assert len(files[0]) == 8


@pytest.mark.slow
def test_two_processes_pretrain_as_one_does(tmp_path: Path) -> None:
    losses = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        small = ("states=2", "steps=4", "batch_size=4", "warmup=1", "bf16=false", "workers=0", "threads=1")
        source = ("source._target_=envs.cube_pick.frames.RandomFrames", "source.image_size=224")
        torchrun(processes, "pretrain", f"out={out}", *small, *source)
        losses.append(np.array(json.loads((out / "losses.json").read_text())))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
