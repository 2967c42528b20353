"""One connection's history: what is taken for executed, what an episode is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import refusal
from serving import OBSERVED, PREDICTED, Adder, adding, observation, request, service_of, small_policy

from s2robot.policy.policy import ChunkExecutor, Policy
from s2robot.serve.session import Session
from s2robot.serve.wire import pack, unpack


class Listened(Session):
    """A session whose predictor is looked at."""

    @property
    def calls(self) -> list[Any]:
        assert isinstance(self._predictor, Adder)
        return self._predictor.calls

    def infer(self, message: dict[str, Any]) -> np.ndarray:
        return unpack(self.answer(pack(message)))["actions"]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small_policy()


def test_the_reply_is_a_chunk_with_its_timing() -> None:
    session = Session(adding())
    first = unpack(session.answer(pack(request(0))))
    assert first.keys() == {"actions", "server_timing"}
    assert first["actions"].shape == (PREDICTED, 2) and first["actions"].dtype == np.float32
    assert first["server_timing"].keys() == {"infer_ms"}
    second = unpack(session.answer(pack(request(1)), 12.5))
    assert second["server_timing"]["prev_total_ms"] == 12.5
    assert second["server_timing"]["infer_ms"] >= 0


def test_without_a_word_the_last_reply_counts_as_executed_from_its_start() -> None:
    session = Listened(adding())
    chunk = session.infer(request(0))
    session.infer(request(1))
    assert session.calls == ["observe", chunk[0].tolist(), "observe"]


@pytest.mark.parametrize("steps", [2, PREDICTED])
def test_a_client_that_calls_every_k_steps_has_executed_k_actions(steps: int) -> None:
    session = Listened(adding(call_every=steps))
    chunk = session.infer(request(0))
    session.infer(request(1))
    assert session.calls == ["observe", *chunk[:steps].tolist(), "observe"]


def test_what_a_client_says_it_has_executed_counts_instead() -> None:
    session = Listened(adding(call_every=3))
    session.infer(request(0))
    session.infer(request(1, actions_executed=np.array([[1.0, 2.0], [3.0, 4.0]])))
    session.infer(request(2, actions_executed=np.array([[5, 6]])))
    assert session.calls == ["observe", [1, 2], [3, 4], "observe", [5, 6], "observe"]


def test_of_many_actions_those_of_the_history_count() -> None:
    session = Listened(adding())
    session.infer(request(0))
    many = np.arange(200).reshape(100, 2)
    session.infer(request(1, actions_executed=many))
    assert session.calls == ["observe", *many[-OBSERVED:].tolist(), "observe"]


def test_no_action_between_two_requests_is_refused() -> None:
    session = Listened(adding())
    session.infer(request(0, actions_executed=np.empty((0, 2))))
    message = request(1, actions_executed=np.empty((0, 2)))
    assert refusal(lambda: session.infer(message)).startswith("actions_executed is empty: expected")


def test_a_client_that_comes_back_may_say_what_it_did_before() -> None:
    session = Listened(adding())
    session.infer(request(0, actions_executed=np.array([[1.0, 2.0]])))
    assert session.calls == [[1, 2], "observe"]


def test_reset_begins_an_episode_whatever_was_executed() -> None:
    session = Listened(adding())
    fresh = session.infer(request(0))
    assert not np.array_equal(session.infer(request(0)), fresh)
    again = session.infer(request(0, reset=True, actions_executed=np.ones((1, 2))))
    assert np.array_equal(again, fresh)
    assert session.calls == ["observe"]
    assert not np.array_equal(session.infer(request(0, reset=False)), fresh)


def test_a_pause_begins_an_episode_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("s2robot.serve.session.time.monotonic", lambda: now[0])
    patient, impatient = Listened(adding()), Listened(adding(reset_after=5.0))
    for session in (patient, impatient):
        now[0] = 0.0
        session.infer(request(0))
        now[0] = 4.9
        session.infer(request(1))
        assert len(session.calls) == 3
        now[0] = 10.0
        session.infer(request(2))
    assert (len(patient.calls), len(impatient.calls)) == (5, 1)
    now[0] = 20.0
    impatient.infer(request(3, actions_executed=np.ones((1, 2))))
    assert len(impatient.calls) == 3, "who says what was executed knows the episode"


@pytest.mark.parametrize("call_every", [0, -1, PREDICTED + 1])
def test_more_actions_than_a_reply_has_cannot_be_executed(call_every: int) -> None:
    said = refusal(lambda: adding(call_every=call_every))
    assert said == f"call_every={call_every}: expected 1 to {PREDICTED}"


def test_a_policy_that_predicts_nonsense_is_told() -> None:
    class Nonsense(Adder):
        def predict(self) -> np.ndarray:
            return np.full((PREDICTED, 2), np.nan, np.float32)

    session = Session(adding(new_predictor=Nonsense))
    assert (
        refusal(lambda: session.answer(pack(request(0))))
        == "the policy predicted actions that are not finite"
    )


def test_an_episode_equals_that_of_a_policy_here(policy: Policy) -> None:
    """Bit for bit: predictions at every step, the first action of each executed."""
    session = Listened(service_of(policy))
    here = ChunkExecutor(Policy(policy.model, policy.extractor, policy.spec), n_action_steps=1)
    for seed in range(OBSERVED + 2):
        assert session.infer(request(seed))[0].tobytes() == here.act(observation(seed)).tobytes()


def test_two_sessions_of_one_model_do_not_mix(policy: Policy) -> None:
    service = service_of(policy)
    one, other = Listened(service), Listened(service)
    mixed = [(one.infer(request(seed)), other.infer(request(seed + 50))) for seed in range(3)]
    alone = Listened(service)
    assert np.array_equal([a for a, _ in mixed], [alone.infer(request(seed)) for seed in range(3)])
    assert not np.array_equal(mixed[2][0], mixed[2][1])


def test_the_metadata_says_what_a_client_must_know() -> None:
    told = unpack(pack(adding(call_every=2, about={"checkpoint": "x"}).metadata()))
    assert told["chunk_size"] == PREDICTED
    assert told["action"] == {"dtype": "float32", "shape": [2], "names": ["dx [m]", "gripper"]}
    assert (told["rate"], told["action_space"], told["cameras"]) == (10.0, "ee_delta", ["front"])
    assert told["history"] == {"steps": OBSERVED, "call_every": 2, "reset_after": None}
    assert told["observation"].keys() == {"images/front", "proprio"}
    assert told["checkpoint"] == "x"
