"""Malformed messages by the hundred, and that the fuzz would notice a server that fails."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from serving import PREDICTED, Adder, adding, running

from s2robot.core.errors import UserError
from s2robot.core.spec import Observation, RobotSpec
from s2robot.serve.connection import Limits
from s2robot.serve.contract import Contract
from s2robot.serve.session import Service, Session
from s2robot.serve.wire import unpack
from tests.stress.fuzz import Tally, fuzz, main, well_formed
from tests.stress.malformed import MESSAGES
from tests.stress.roundtrip import measure, summary

SPEC = RobotSpec({"front": (16, 16, 3)}, ("x [m]", "y [m]", "z [m]"), ("dx [m]", "gripper"), "ee_delta", 10.0)


def service(predictor: type[Adder] = Adder) -> Service:
    return adding(Contract(SPEC), new_predictor=predictor)


def test_the_server_survives_what_is_malformed_and_answers_as_before() -> None:
    tally = Tally()
    with running(service()) as server:
        fuzz(server.url, well_formed(SPEC), messages=400, seed=3, tally=tally)
    assert (tally.unlike, tally.count("hang")) == (0, 0)
    assert sum(counter.total() for counter in tally.outcomes.values()) == 400
    assert tally.outcomes.keys() >= {*MESSAGES, "socket"}
    refused, answered = tally.count("closed with 1011"), tally.count("answered")
    assert refused > 200 and 0 < answered < 100


@pytest.mark.parametrize("kind", MESSAGES)
def test_each_kind_is_refused_or_means_something(kind: str) -> None:
    """Without sockets, and so some hundred times: nothing but a UserError comes out."""
    rng, request, refused = np.random.default_rng(5), well_formed(SPEC), 0
    for _ in range(200):
        message = MESSAGES[kind](rng, request)
        try:
            reply = Session(service()).answer(message if isinstance(message, bytes) else message.encode())
            assert unpack(reply)["actions"].shape == (PREDICTED, 2)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000
    assert refused > 50


def test_a_server_that_mixes_its_clients_would_be_noticed() -> None:
    class Shared(Adder):
        seen = 0

        def observe(self, observation: object) -> None:
            Shared.seen += 1
            self.total = float(Shared.seen)

    tally = Tally()
    with running(service(Shared)) as server:
        fuzz(server.url, well_formed(SPEC), messages=30, seed=3, tally=tally)
    assert tally.unlike == 2


def test_a_server_that_does_not_answer_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, at an observation that is not the well-behaved client's."""
    sane = float(well_formed(SPEC)["images/front"].mean())

    class Tired(Adder):
        hung = False

        def observe(self, observation: Observation) -> None:
            super().observe(observation)
            if self.total != sane and not Tired.hung:
                Tired.hung = True
                time.sleep(3.0)

    monkeypatch.setattr("tests.stress.fuzz._HANG", 2.0)
    tally = Tally()
    with running(service(Tired), Limits(connections=50)) as server, contextlib.suppress(TimeoutError):
        fuzz(server.url, well_formed(SPEC), messages=40, seed=3, tally=tally)
    assert tally.count("hang") >= 1


def test_the_times_of_calls_are_summed_up() -> None:
    figures = summary(np.linspace(1, 3, 101))
    assert (
        figures["milliseconds"] | {"calls": 101, "p50": 2.0, "max": 3.0, "mean": 2.0}
        == figures["milliseconds"]
    )
    assert figures["median_within_bar"]
    assert not summary(np.full(5, 2.1))["median_within_bar"]


@pytest.mark.slow
def test_calls_are_timed_from_one_process_to_another() -> None:
    measured = measure(20)
    assert len(measured.times) == 20 and (measured.times > 0).all()
    assert measured.client_cpu > 0


@pytest.mark.slow
def test_a_server_in_a_process_of_its_own_survives_thousands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "fuzz.json"
    monkeypatch.setattr("sys.argv", ["fuzz", "--messages", "2000", "--seed", "1", "--out", os.fspath(out)])
    main()
    figures = json.loads(out.read_text())
    assert (
        figures | {"messages": 2000, "crashes": 0, "hangs": 0, "still_serving": True, "failure": None}
        == figures
    )
    assert figures["memory_mb"]["after"] < figures["memory_mb"]["before"] + 300
