"""Batches: a pure function of seed, step and process; and their way into memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mistakes import refusal
from toy_loop import made_episode

from s2robot.data.dataset import WindowDataset
from s2robot.train.batches import Batches, Loader


def flat(batches: Batches) -> list[list[int]]:
    """The windows of each step, whatever its parts."""
    return [[window for part in parts for window in part] for parts in batches]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 5), st.integers(0, 20), st.integers(0, 20))
def test_batches_go_on_as_if_never_stopped(windows: int, size: int, seed: int, first: int, more: int) -> None:
    whole = list(Batches(windows, size, seed, 0, first + more))
    rest = Batches(windows, size, seed, first, first + more)
    assert len(rest) == more
    assert list(rest) == whole[first:]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 5))
def test_every_epoch_holds_every_window_once(windows: int, size: int, seed: int) -> None:
    drawn = [w for batch in flat(Batches(windows, size, seed, 0, 3 * windows)) for w in batch]
    epochs = [drawn[i : i + windows] for i in range(0, 3 * windows, windows)]
    assert all(sorted(epoch) == list(range(windows)) for epoch in epochs)
    if windows > 10:
        assert epochs[0] != epochs[1], "in another order"


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(0, 9))
def test_the_parts_of_all_processes_are_the_batch_of_one(
    processes: int, grad_accum_steps: int, each: int, windows: int, seed: int
) -> None:
    sizes = (windows, processes * grad_accum_steps * each, seed, 0, 4)
    whole = flat(Batches(*sizes))
    shares = [
        list(Batches(*sizes, rank=rank, processes=processes, grad_accum_steps=grad_accum_steps))
        for rank in range(processes)
    ]
    for step, batch in enumerate(whole):
        parts = [shares[rank][step][i] for i in range(grad_accum_steps) for rank in range(processes)]
        assert [len(part) for part in parts] == [each] * processes * grad_accum_steps
        assert [window for part in parts for window in part] == batch


@pytest.mark.parametrize(("processes", "grad_accum_steps"), [(3, 1), (2, 2), (1, 0), (1, 16)])
def test_a_batch_that_cannot_be_divided_is_refused(processes: int, grad_accum_steps: int) -> None:
    said = refusal(lambda: Batches(9, 10, 0, 0, 1, processes=processes, grad_accum_steps=grad_accum_steps))
    assert said == (
        f"batch_size=10: cannot be divided by {processes} processes times grad_accum_steps={grad_accum_steps}"
    )


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_windows_come_in_order_whoever_reads_them(threads: int) -> None:
    dataset = WindowDataset([made_episode(9), made_episode(30)], 4, 2)
    batches = Batches(len(dataset), 6, 0, 0, 11, grad_accum_steps=2)
    loader = Loader(dataset, batches, threads)
    assert len(loader) == 11
    found = list(loader)
    assert len(found) == 11
    for parts, expected in zip(found, batches, strict=True):
        for part, items in zip(parts, expected, strict=True):
            assert torch.equal(part["chunk"], torch.stack([dataset[i]["chunk"] for i in items]))
    assert loader.waited > 0


def test_what_fails_while_reading_ahead_is_told() -> None:
    dataset = WindowDataset([made_episode(5)], 4, 2)
    with pytest.raises(IndexError):
        list(Loader(dataset, Batches(6, 6, 0, 0, 1), 1))


def test_a_reader_ahead_does_not_run_away() -> None:
    """However long the training, only a few batches lie in memory."""
    drawn: list[int] = []

    class Counted(Batches):
        def __iter__(self) -> Iterator[list[list[int]]]:
            for parts in super().__iter__():
                drawn.append(len(parts))
                yield parts

    dataset = WindowDataset([made_episode(9)], 4, 2)
    loader = iter(Loader(dataset, Counted(len(dataset), 2, 0, 0, 1000), 1))
    next(loader)
    assert len(drawn) < 5


def test_a_number_of_threads_that_is_none_is_refused() -> None:
    dataset = WindowDataset([made_episode(5)], 4, 2)
    said = refusal(lambda: Loader(dataset, Batches(5, 1, 0, 0, 1), -1))
    assert said == "loader_threads=-1: expected 0 (the trainer itself) or more"
