"""A policy while it acts: its history, and how chunks become actions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2robot.core.errors import UserError
from s2robot.core.rollout import Actor
from s2robot.core.spec import Observation, RobotSpec
from s2robot.data.recorder import Recorder
from s2robot.data.store import DemoStore
from s2robot.policy.config import PolicyConfig
from s2robot.policy.policy import ChunkExecutor, Policy, TemporalEnsemble
from s2robot.policy.trunks.transformer import Transformer
from s2robot.vision.cache import encode_store
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import FeatureExtractor, make_extractor
from s2robot.vision.fit import Fit

SPEC = RobotSpec(
    cameras={"front": (32, 32, 3)},
    proprio=("x [m]", "y [m]", "opening [m]"),
    action=("dx [m]", "gripper"),
    action_space="ee_delta",
    rate=10.0,
)
OBSERVED, PREDICTED = 4, 6


@pytest.fixture(scope="module")
def make() -> Callable[[], Policy]:
    """Makes policies of one and the same model."""
    torch.manual_seed(0)
    extractor = FeatureExtractor("random-tiny", [224], bf16=False)
    config = PolicyConfig(
        cameras={"front": extractor.map_shape()},
        proprio_dim=SPEC.proprio_dim,
        action_dim=SPEC.action_dim,
        n_obs_steps=OBSERVED,
        chunk_size=PREDICTED,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
        pooling="attention",
    )
    model = Transformer(config)
    return lambda: Policy(model, extractor, SPEC)


def observation(seed: int) -> Observation:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return {"images": {"front": frame}, "proprio": rng.standard_normal(3).astype(np.float32)}


def acts(executor: Actor, seeds: range) -> np.ndarray:
    return np.stack([executor.act(observation(seed)) for seed in seeds])


def test_a_long_episode_takes_no_more_memory_and_counts_alike(make: Any) -> None:
    """Forgetting what lies outside the window changes nothing: a policy that starts there sees the same."""
    long, held = make(), []
    for seed in range(12):
        long.observe(observation(seed % 3))
        held.append(sum(len(value) for value in vars(long).values() if isinstance(value, list)))
        long.record_action(np.full(2, seed, np.float32))
    assert held[-1] == held[OBSERVED + 1] > held[OBSERVED - 1]
    short = make()
    for seed in range(12 - OBSERVED - 1, 12):
        short.observe(observation(seed % 3))
        short.record_action(np.full(2, seed, np.float32))
    for policy in (long, short):
        policy.observe(observation(0))
    assert np.array_equal(long.predict(), short.predict())


def test_a_step_that_was_not_observed_is_masked(make: Any) -> None:
    """Its action counts, as the one before the next observation; nothing else of it does."""
    chunks = {}
    for first, second in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        policy = make()
        policy.observe(observation(0))
        policy.record_action(np.full(2, first, np.float32))
        policy.record_action(np.full(2, second, np.float32))
        policy.observe(observation(1))
        chunks[first, second] = policy.predict()
    assert np.array_equal(chunks[1, 0], chunks[0, 0])
    assert not np.allclose(chunks[0, 1], chunks[0, 0], atol=1e-6)
    observed = make()
    for seed in (0, 0, 1):
        observed.observe(observation(seed))
        observed.record_action(np.zeros(2, np.float32))
    assert not np.allclose(observed.predict(), chunks[0, 0], atol=1e-6), "a step that was observed counts"


def test_an_action_before_the_first_observation_counts(make: Any) -> None:
    chunks = []
    for action in (None, 0.0, 1.0):
        policy = make()
        if action is not None:
            policy.record_action(np.full(2, action, np.float32))
        policy.observe(observation(0))
        chunks.append(policy.predict())
    assert np.isfinite(chunks).all()
    assert not np.allclose(chunks[0], chunks[1], atol=1e-6)
    assert not np.allclose(chunks[1], chunks[2], atol=1e-6)


EXECUTORS = {
    "chunk": lambda policy: ChunkExecutor(policy, n_action_steps=2),
    "ensemble": lambda policy: TemporalEnsemble(policy, decay=0.3),
}


def test_a_prediction_is_a_chunk_of_actions(make: Any) -> None:
    policy = make()
    policy.observe(observation(0))
    chunk = policy.predict()
    assert chunk.shape == (PREDICTED, SPEC.action_dim)
    assert chunk.dtype == np.float32 and np.isfinite(chunk).all()


def test_a_prediction_is_in_the_units_of_the_actions(make: Any) -> None:
    policy = make()
    policy.observe(observation(0))
    plain = policy.predict()
    normalizer = policy.model.action_normalizer
    normalizer.mean += 5.0
    try:
        np.testing.assert_allclose(policy.predict(), plain + 5.0, atol=1e-5)
    finally:
        normalizer.mean -= 5.0


def test_predicting_twice_gives_the_same(make: Any) -> None:
    policy = make()
    policy.observe(observation(0))
    assert np.array_equal(policy.predict(), policy.predict())


def test_the_last_steps_count_and_no_others(make: Any) -> None:
    short, long = make(), make()
    for seed in range(10):
        long.observe(observation(seed))
        long.record_action(np.full(2, seed, np.float32))
    long.observe(observation(10))
    far, near = long.predict(), []
    for changed in (5, 7):  # 7 ... 10 are seen
        policy = make()
        for seed in range(11):
            policy.observe(observation(99 if seed == changed else seed))
            if seed < 10:
                policy.record_action(np.full(2, seed, np.float32))
        near.append(policy.predict())
    np.testing.assert_allclose(near[0], far, atol=1e-6)
    assert not np.allclose(near[1], far, atol=1e-6)
    short.observe(observation(10))
    assert not np.allclose(short.predict(), far, atol=1e-6), "the history counts"


def test_actions_that_were_asked_for_count(make: Any) -> None:
    chunks = []
    for action in (0.0, 1.0):
        policy = make()
        policy.observe(observation(0))
        policy.record_action(np.full(2, action, np.float32))
        policy.observe(observation(1))
        chunks.append(policy.predict())
    assert not np.allclose(*chunks, atol=1e-6)


@pytest.mark.parametrize("execution", EXECUTORS)
def test_reset_forgets_everything(make: Any, execution: str) -> None:
    used = EXECUTORS[execution](make())
    used.reset()
    acts(used, range(100, 107))
    used.reset()
    assert np.array_equal(acts(used, range(7)), acts(EXECUTORS[execution](make()), range(7)))


@pytest.mark.parametrize("execution", EXECUTORS)
def test_two_policies_side_by_side_do_not_influence_each_other(make: Any, execution: str) -> None:
    one, other = EXECUTORS[execution](make()), EXECUTORS[execution](make())
    interleaved = np.stack(
        [(one.act(observation(seed)), other.act(observation(seed + 50))) for seed in range(7)], axis=1
    )
    assert np.array_equal(interleaved[0], acts(EXECUTORS[execution](make()), range(7)))
    assert np.array_equal(interleaved[1], acts(EXECUTORS[execution](make()), range(50, 57)))


@pytest.mark.parametrize("n_action_steps", [1, 3, PREDICTED])
def test_a_chunk_is_executed_up_to_the_horizon_then_predicted_anew(make: Any, n_action_steps: int) -> None:
    taken = acts(ChunkExecutor(make(), n_action_steps), range(8))
    by_hand = make()
    expected: list[np.ndarray] = []
    for step in range(8):
        by_hand.observe(observation(step))
        if step % n_action_steps == 0:
            chunk = by_hand.predict()
        expected.append(chunk[step % n_action_steps])
        by_hand.record_action(expected[-1])
    assert np.array_equal(taken, expected)


@pytest.mark.parametrize("n_action_steps", [0, -1, PREDICTED + 1])
def test_a_horizon_beyond_the_chunk_is_refused(make: Any, n_action_steps: int) -> None:
    with pytest.raises(
        UserError, match=f"^n_action_steps={n_action_steps}: expected 1 to {PREDICTED}, [^\n]+$"
    ):
        ChunkExecutor(make(), n_action_steps)


class Scripted(Policy):
    """Chunk n says 100 n + k for the step k ahead."""

    def reset(self) -> None:
        super().reset()
        self.count = 0

    def observe(self, observation: Observation) -> None:
        pass

    def predict(self) -> np.ndarray:
        self.count += 1
        ahead = np.arange(PREDICTED, dtype=np.float32)
        return np.stack([100 * self.count + ahead] * 2, axis=1)


@pytest.mark.parametrize("decay", [0.0, 0.2, 3.0])
def test_an_ensemble_weighs_the_oldest_chunk_most(make: Any, decay: float) -> None:
    policy = make()
    ensemble = TemporalEnsemble(Scripted(policy.model, policy.extractor, SPEC), decay)
    taken = [ensemble.act(observation(0)) for _ in range(PREDICTED + 3)]
    for step, action in enumerate(taken):
        chunks = np.arange(max(0, step - PREDICTED + 1), step + 1)  # those that speak of it, oldest first
        weights = np.exp(-decay * np.arange(len(chunks)))
        spoken = 100 * (chunks + 1) + (step - chunks)
        np.testing.assert_allclose(action, np.full(2, (weights * spoken).sum() / weights.sum()), rtol=1e-5)


def test_an_ensemble_tells_the_policy_what_it_has_asked_for(make: Any) -> None:
    asked: list[np.ndarray] = []

    class Listening(Scripted):
        def record_action(self, action: np.ndarray) -> None:
            asked.append(action)

    policy = make()
    ensemble = TemporalEnsemble(Listening(policy.model, policy.extractor, SPEC))
    taken = [ensemble.act(observation(0)) for _ in range(4)]
    assert np.array_equal(asked, taken)


def test_other_cameras_are_told_by_name(make: Any) -> None:
    strange = observation(0)
    strange["images"] = {"fornt": strange["images"]["front"]}
    with pytest.raises(UserError, match="^unknown camera 'front': did you mean 'fornt'[^\n]+$"):
        make().observe(strange)


def test_more_cameras_than_it_knows_do_no_harm(make: Any) -> None:
    one, other = make(), make()
    one.observe(observation(0))
    more = observation(0)
    more["images"] = {"wrist": np.zeros((8, 8, 3), np.uint8), **more["images"]}
    other.observe(more)
    assert np.array_equal(one.predict(), other.predict())


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), ()])
def test_another_proprioception_is_refused_with_what_was_expected(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UserError, match=r"^proprioception of shape [^\n]+ trained on \(3,\): x \[m\], y \[m\]"
    ):
        make().observe(observation(0) | {"proprio": np.zeros(shape, np.float32)})


def test_what_is_refused_leaves_the_history_as_it_was(make: Any) -> None:
    policy, undisturbed = make(), make()
    for p in (policy, undisturbed):
        p.observe(observation(0))
    with pytest.raises(UserError):
        policy.observe(observation(1) | {"proprio": np.zeros(9, np.float32)})
    assert np.array_equal(policy.predict(), undisturbed.predict())


@pytest.mark.parametrize(
    ("fit", "camera_fit"), [("crop", {}), ("pad", {}), ("stretch", {}), ("stretch", {"wrist": "crop"})]
)
def test_frames_of_any_shape_have_the_features_they_have_in_training(
    fit: Fit, camera_fit: dict[str, Fit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16:9 and 4:3 cameras in one policy: what `s2robot encode` keeps is what `observe` pools."""
    shapes = {"front": (180, 320, 3), "wrist": (48, 64, 3)}
    spec = RobotSpec(shapes, SPEC.proprio, SPEC.action, SPEC.action_space, SPEC.rate)
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()}
    step: Observation = {"images": images, "proprio": np.zeros(3, np.float32)}
    store = DemoStore.create(tmp_path / "demos", spec)
    recorder = Recorder()
    recorder.on_reset(step, {"time": 0.0})
    recorder.on_step(step, np.zeros(2, np.float32), {"time": 0.1})
    store.append(recorder.episode({}))
    encoder = EncoderOptions("random-tiny", (32,), fit=fit, camera_fit=camera_fit)
    cache = encode_store(store.path, None, encoder, bf16=False)
    stored = {name: np.array(cache.load(store, store.ids()[0], name)) for name in shapes}

    extractor = make_extractor(encoder, bf16=False)
    config = PolicyConfig(
        cameras={name: extractor.map_shape(shape[:2], name) for name, shape in shapes.items()},
        proprio_dim=spec.proprio_dim,
        action_dim=spec.action_dim,
        width=16,
        trunk_options={"depth": 1, "heads": 2},
        pooling="attention",
    )
    policy = Policy(Transformer(config), extractor, spec)
    pooled: dict[str, np.ndarray] = {}

    def pool(name: str, features: torch.Tensor) -> torch.Tensor:
        pooled[name] = features.numpy()
        return torch.zeros(1, 16)

    monkeypatch.setattr(policy.model, "pool", pool)
    policy.observe(step)
    for name in shapes:
        assert np.array_equal(pooled[name], stored[name].astype(np.float32))
