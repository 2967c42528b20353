"""Where a rollout's time goes: every second counted once, and rates of the time when all are at work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_loop import refusal, s2robot

from s2robot.bench.clock import Clock
from s2robot.bench.rollout import PARTS, Measured, steady_rate, summary


def test_a_second_is_counted_once_in_the_innermost_part() -> None:
    time = 0.0
    clock = Clock(lambda: time)
    with clock.part("outer"):
        time += 1
        with clock.part("inner"):
            time += 10
        time += 2
        with clock.part("inner"):
            time += 20
    time += 100
    with clock.part("outer"):
        time += 4
    assert clock.seconds == {"outer": 7, "inner": 30}


def test_an_error_ends_its_part() -> None:
    time = 0.0
    clock = Clock(lambda: time)

    def fail() -> None:
        nonlocal time
        time += 3
        raise LookupError

    with pytest.raises(LookupError):
        clock.timed("failing", fail)()
    time += 5
    with clock.part("next"):
        time += 1
    assert clock.seconds == {"failing": 3, "next": 1}


def rollout(worker: int, began: float, ended: float, steps: int = 10) -> Measured:
    return Measured(worker, began, ended, steps, dict.fromkeys(PARTS, 0.1))


def test_the_rate_is_of_the_time_when_all_are_at_work() -> None:
    alone = [rollout(1, 0, 100), rollout(1, 100, 101), rollout(1, 101, 103)]
    assert steady_rate(alone) == pytest.approx(20 / 3)
    together = [
        *(rollout(1, 0, 2), rollout(1, 2, 4), rollout(1, 4, 6)),
        *(rollout(2, 1, 3), rollout(2, 3, 5), rollout(2, 5, 20)),
    ]
    assert steady_rate(together) == pytest.approx((5 + 10 + 10 + 10 / 15) / 3)


def test_the_speedup_is_of_median_rates() -> None:
    slow = [rollout(1, 0, 1), rollout(1, 1, 2), rollout(1, 2, 3)]
    quick = [rollout(w, t, t + 1) for w in (1, 2) for t in range(3)]
    result = summary([{1: slow, 2: quick}] * 3)
    assert result["speedup"] == {"1": 1.0, "2": pytest.approx(2.0)}
    assert result["steps"] == 90 and sum(result["shares"].values()) == pytest.approx(1)
    assert result["ms_per_step"]["physics"] == pytest.approx(1000 * 9 * 0.1 / 90)


@pytest.mark.slow
def test_the_command_measures_and_writes(
    toy_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("bench", "rollout", f"checkpoint={toy_checkpoint}", f"out={tmp_path / 'b.json'}")
    assert s2robot(*given, "rollout.starts=3", "rollout.workers=[1]", "rollout.rounds=1") == 0
    result = json.loads((tmp_path / "b.json").read_text())
    assert result["rollouts"] == 3 and result["steps"] >= 3
    assert all(result["ms_per_step"][part] > 0 for part in PARTS)
    assert result["shares"]["encoding"] > result["shares"]["physics"], "the toy has hardly any"
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*PARTS, "1"]
    other = (*given[:-1], f"out={tmp_path / 'other.json'}")
    assert "each worker needs 2" in refusal(capsys, *other, "rollout.starts=3", "rollout.workers=[1,2]")
