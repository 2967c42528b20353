"""A step of training: whole or in parts, averaged, in another precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mistakes import refusal
from torch import Tensor
from torch.utils.data import default_collate
from toy_loop import made_episode

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.spec import GripperSpec, RobotSpec
from s2robot.data.dataset import WindowDataset
from s2robot.train.batches import Window
from s2robot.train.options import TrainOptions
from s2robot.train.run import Run, Trainer, start, validate
from s2robot.utils.distributed import World

SPEC = RobotSpec(
    {"front": (8, 8, 3)}, ("a", "b", "c"), ("x", "gripper"), "ee_delta", 10.0, (GripperSpec(1, -1.0, 1.0),)
)
SMALL = (
    "width=16",
    "transformer.depth=1",
    "transformer.heads=2",
    "n_obs_steps=6",
    "chunk_size=4",
    "pooling_dropout=0",
)


def closing(length: int) -> np.ndarray:
    """Actions whose gripper closes in the middle."""
    action = made_episode(length).action.copy()
    action[:, -1] = np.where(np.arange(length) < length // 2, -1, 1)
    return action


EPISODES = [made_episode(20, seed=seed, action=closing(20)) for seed in range(3)]
DATASET = WindowDataset(EPISODES, 6, 4)


def options(*overrides: str) -> TrainOptions:
    small = [f"policy.{option}" for option in SMALL]
    given = ["demos=x", "out=y", *small, "steps=10", "warmup=1", "lr=0.01", "precision=fp32", *overrides]
    return read_options(TrainOptions, compose("train", given))


def begun(given: TrainOptions) -> Run:
    return start(given, SPEC, EPISODES, "recipe", torch.device("cpu"))


def windows(*items: int) -> Window:
    return default_collate([DATASET[i] for i in items])


def weights(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


@pytest.mark.parametrize("policy", [(), ("policy.head=flow",), ("policy.action_noise=0.1",)])
def test_a_batch_in_parts_trains_as_the_whole_does(policy: tuple[str, ...]) -> None:
    """Though its parts differ in how much of them is padding, or comes after the grasp."""
    items = (0, 1, 2, 25, 15, 36, 18, 19)
    given = options(*policy)
    whole, parts = begun(given), begun(given)
    together = Trainer(given, whole, World()).step([windows(*items)])
    apart = Trainer(given, parts, World()).step([windows(*items[i : i + 2]) for i in range(0, 8, 2)])
    assert apart == pytest.approx(together, rel=1e-4)
    others = dict(parts.model.named_parameters())
    for name, value in whole.model.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(others[name].grad, value.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_demos_without_a_grasp_teach_no_place_of_one() -> None:
    pushing = [made_episode(20, action=-np.abs(closing(20)))]
    config = start(options(), SPEC, pushing, "recipe", torch.device("cpu")).model.config
    assert (config.has_grasp_conditioning, config.grasp_weight) == (False, 0)
    assert begun(options()).model.config.has_grasp_conditioning


def test_the_parts_would_differ_without_their_counts() -> None:
    """The mean over parts is not that of the batch: what the test above tells."""
    model = begun(options()).model
    means = [model.loss(windows(i))["action"].item() for i in (0, 15)]
    assert np.mean(means) != pytest.approx(model.loss(windows(0, 15))["action"].item(), rel=1e-3)


def test_the_mean_of_the_weights_is_what_is_kept() -> None:
    given = options("ema_decay=0.75")
    run = begun(given)
    trainer = Trainer(given, run, World())
    seen = []
    for _ in range(2):
        trainer.step([windows(3, 9, 30)])
        seen.append(weights(run)["head.weight"])
    torch.testing.assert_close(run.kept.state_dict()["head.weight"], 0.75 * seen[0] + 0.25 * seen[1])
    assert run.kept is not run.model
    assert begun(options()).kept is not None


def test_bf16_computes_otherwise_and_learns() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        given = options(f"precision={precision}")
        trainer = Trainer(given, begun(given), World())
        losses[precision] = [trainer.step([windows(3, 9, 30)])["total"] for _ in range(6)]
        assert losses[precision][-1] < losses[precision][0]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)


@pytest.mark.parametrize(("gains", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_the_default_where_it_is_quicker(
    gains: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2robot.train.run.computes_in_bf16", lambda _: gains)
    losses = [
        Trainer(given, begun(given), World()).step([windows(3, 9)])["total"]
        for given in (options("precision=null"), options(f"precision={precision}"))
    ]
    assert losses[0] == losses[1]


def test_the_gradient_is_clipped() -> None:
    steps = {}
    for clip in (1e-6, 1.0):
        given = options(f"grad_clip_norm={clip}", "weight_decay=0")
        run = begun(given)
        Trainer(given, run, World()).step([windows(3, 9, 30)])
        norm = sum(float(p.grad.square().sum()) for p in run.model.parameters() if p.grad is not None)
        steps[clip] = norm**0.5
    assert steps[1e-6] < 1.01e-6 < steps[1.0] <= 1.01


def test_scoring_draws_nothing_and_changes_nothing() -> None:
    given = options("policy.head=flow")
    run = begun(given)
    before, state = weights(run), torch.random.get_rng_state()
    first = validate(run.model, DATASET, 7)
    assert first == validate(run.model, DATASET, 7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("precision=fp16", "unknown precision 'fp16': did you mean 'bf16'? valid: fp32, bf16"),
        ("ema_decay=1.0", "ema_decay=1.0: expected less than 1"),
        ("policy.trunk=mpl", "unknown trunk 'mpl': did you mean 'mlp'? valid: transformer, mlp, linear"),
        ("policy.head=flwo", "unknown head 'flwo': did you mean 'flow'? valid: l1, mse, flow"),
        ("policy.head=flow policy.flow.steps=0", "steps=0: expected 1 or more"),
    ],
)
def test_options_that_no_training_has_are_refused(option: str, said: str) -> None:
    assert refusal(lambda: begun(options(*option.split()))) == said
