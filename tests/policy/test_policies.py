"""What a policy may be made of: trunks, heads, and what is dropped in training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_transformer import BATCH, CONFIG, batch, changed, inputs
from torch import Tensor, nn
from torch.utils.data import default_collate
from toy_loop import made_episode

from s2robot.data.dataset import WindowDataset
from s2robot.policy.config import PolicyConfig
from s2robot.policy.heads.flow import FlowHead, FlowOptions
from s2robot.policy.model import PolicyModel, make_model
from s2robot.policy.normalize import Statistics
from s2robot.policy.registry import TRUNKS, load_part, part_options
from s2robot.utils.randomness import BatchRandom, Microbatch


def config_of(**options: Any) -> PolicyConfig:
    other = options.get("trunk", CONFIG.trunk) != CONFIG.trunk
    return replace(CONFIG, **({"trunk_options": {}} if other else {}), **options)


def made(**options: object) -> PolicyModel:
    torch.manual_seed(0)
    statistics = (
        Statistics(np.full(3, 30.0), np.full(3, 20.0)),
        Statistics(np.full(2, 20.0), np.full(2, 10.0)),
    )
    return make_model(config_of(**options), *statistics).eval()


def first_changed(model: PolicyModel, name: str, step: int) -> list[bool]:
    """Which steps' predictions change with one step's input."""
    with torch.inference_mode():
        difference = model(**inputs()) - model(**changed(inputs(), name, step))
    return (difference.abs().amax((0, 2, 3)) > 1e-6).tolist()


def loss(model: PolicyModel, window: dict[str, Tensor], seed: int | None = 0, name: str = "total") -> Tensor:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return model.loss(window, generator)[name]


EVERY = [
    *({"trunk": trunk} for trunk in TRUNKS),
    *({"head": head} for head in ("mse", "flow")),
    {"trunk": "linear", "pooling": "linear"},
    {"vision": False},
    {"vision": False, "trunk": "mlp"},
]


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_every_policy_predicts_and_learns(options: dict[str, object]) -> None:
    model, window = made(**options), batch()
    visual = inputs()["visual"][:, :, : len(model.config.active_cameras)]
    prediction = model(**(inputs() | {"visual": visual}))
    assert prediction.shape == (BATCH, CONFIG.n_obs_steps, CONFIG.chunk_size, CONFIG.action_dim)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(25):
        losses.append(loss(model, window, seed=None))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    untrained = [n for n, p in model.named_parameters() if p.grad is None]
    assert untrained == []


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_a_config_comes_back(options: dict[str, object]) -> None:
    config = config_of(**options)
    assert PolicyConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("trunk", ["mlp", "linear"])
def test_the_baselines_know_the_current_step_alone(trunk: str) -> None:
    model = made(trunk=trunk)
    for name in ("visual", "proprio", "previous_action"):
        assert first_changed(model, name, 3) == [False] * 3 + [True] + [False] * 2


def test_the_linear_baseline_is_linear_in_features_proprioception_and_actions() -> None:
    model = made(trunk="linear", pooling="linear")
    rows, columns, channels = CONFIG.cameras["front"]

    def predicted(scale: float) -> Tensor:
        features = scale * torch.ones(1, CONFIG.n_obs_steps, 1 + rows * columns, channels)
        one = {
            name: scale * torch.ones_like(value)
            for name, value in inputs().items()
            if value.is_floating_point()
        }
        given = {name: value[:1] for name, value in (inputs() | one).items()}
        return model(**(given | {"visual": model.pool("front", features)[:, :, None]}))

    torch.testing.assert_close(predicted(3) - predicted(2), predicted(1) - predicted(0), rtol=1e-3, atol=1e-4)


def test_without_vision_no_feature_is_read() -> None:
    window = batch()
    other = batch(**{"features/front": window["features/front"] + 1})
    blind = made(vision=False)
    assert not list(blind.pooling) and blind.config.active_cameras == ()
    assert loss(blind, window) == loss(blind, other)
    assert loss(made(), window) != loss(made(), other)
    assert blind.loss(window)["grasp"] == 0


# ---------------------------------------------------------------------- heads


def test_a_flow_learns_both_of_two_ways_where_a_mean_would_be_neither() -> None:
    config = replace(CONFIG, chunk_size=1, action_dim=1, head="flow", width=16)
    torch.manual_seed(0)
    head = FlowHead(config, FlowOptions())
    optimiser = torch.optim.Adam(head.parameters(), 0.01)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.zeros(256, 16)
    sides = torch.where(torch.arange(256) % 2 == 0, -1.0, 1.0)[:, None, None]
    for _ in range(300):
        optimiser.zero_grad()
        head.errors(hidden, sides, BatchRandom(generator)).mean().backward()
        optimiser.step()
    with torch.inference_mode():
        drawn = head(hidden, torch.Generator().manual_seed(1)).flatten()
    assert ((drawn.abs() - 1).abs() < 0.35).float().mean() > 0.8, "near one or the other"
    assert 0.3 < (drawn > 0).float().mean() < 0.7, "and both occur"


def test_of_demos_that_do_one_thing_a_flow_learns_nearly_what_regression_does() -> None:
    errors = {head: _error_of(head) for head in ("mse", "flow")}
    assert errors["mse"] < 0.15, "of actions that deviate by 1"
    assert errors["flow"] < 1.5 * errors["mse"]


def _error_of(name: str) -> float:
    """After 500 steps on a chunk of 64 numbers that is a function of what is known."""
    config = replace(CONFIG, chunk_size=16, action_dim=4, width=192, head=name)
    torch.manual_seed(0)
    truth = nn.Sequential(nn.Linear(192, 64), nn.Tanh(), nn.Linear(64, 64)).requires_grad_(False)
    trunk, head = nn.Linear(192, 192), load_part("head", name)(config, part_options("head", name, {}))
    optimiser = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], 1e-3)
    generator = torch.Generator().manual_seed(1)
    scale = truth(torch.randn(4096, 192, generator=generator)).std()
    for step in range(500):
        optimiser.param_groups[0]["lr"] = 1e-3 * (1 - step / 500)
        known = torch.randn(128, 192, generator=generator)
        chunk = (truth(known) / scale).unflatten(-1, (16, 4))
        optimiser.zero_grad()
        head.errors(trunk(known), chunk, BatchRandom(generator)).mean().backward()
        optimiser.step()
    known = torch.randn(512, 192, generator=generator)
    with torch.inference_mode():
        chunk = head(trunk(known)).flatten(1)
    return (chunk - truth(known) / scale).abs().mean().item()


def test_a_flow_is_repeatable_and_starts_from_noise() -> None:
    model = made(head="flow")
    with torch.inference_mode():
        same, again, other = (
            model(**inputs(), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_mse_is_squared() -> None:
    window = batch()
    model = made(head="mse", grasp_weight=0.0)
    with torch.inference_mode():
        visual = model.pool("front", window["features/front"].float())[:, :, None]
        given = (
            model.proprio_normalizer(window["proprio"]),
            model.action_normalizer(window["previous_action"]),
        )
        prediction = model(visual, *given, window["prev_action_mask"], window["timestep_pad_mask"])
    error = (prediction - model.action_normalizer(window["chunk"]))[window["action_loss_mask"]].square()
    torch.testing.assert_close(loss(model, window, seed=None), error.mean())


# ---------------------------------------------------------------------- hidden or disturbed in training


@pytest.mark.parametrize("option", ["action_noise", "proprio_dropout", "visual_dropout"])
def test_it_acts_in_training_alone(option: str) -> None:
    plain = {"action_dropout": 0.0, "proprio_noise": 0.0, "visual_dropout": 0.0}
    without, disturbed = made(**plain), made(**(plain | {option: 0.9}))
    window = batch()
    assert loss(without, window, seed=None) == loss(disturbed, window, seed=None) == loss(without, window)
    assert loss(disturbed, window, seed=3) != loss(without, window)


def test_hidden_proprioception_is_not_read() -> None:
    model = made(proprio_dropout=1.0)
    window = batch()
    assert loss(model, window, 3, "action") == loss(model, batch(proprio=window["proprio"] + 5), 3, "action")


def test_features_of_the_padding_are_not_read() -> None:
    """A window that begins before its episode: poolings have nothing to do there."""
    windows = WindowDataset([made_episode()], CONFIG.n_obs_steps, CONFIG.chunk_size)
    window = default_collate([windows[0], windows[3]])
    assert not window["timestep_pad_mask"].all()
    nothing = window["features/front"].masked_fill(
        ~window["timestep_pad_mask"][..., None, None], float("nan")
    )
    spoilt = {**window, "features/front": nothing}
    for options in EVERY:
        model = made(**options)
        assert torch.equal(loss(model, spoilt), loss(model, window))


def test_a_window_s_numbers_do_not_depend_on_the_parts_of_its_batch() -> None:
    def drawn(parts: int) -> Tensor:
        each = [BatchRandom(torch.Generator().manual_seed(5), Microbatch(i, parts)) for i in range(parts)]
        return torch.cat(
            [random.normal((12 // parts, 3)) + random.uniform((12 // parts, 3)) for random in each]
        )

    assert torch.equal(drawn(1), drawn(4))
    assert torch.equal(drawn(1), drawn(6))


def test_losses_of_parts_have_the_mean_of_the_whole() -> None:
    model = made()
    windows = [
        WindowDataset([made_episode()], CONFIG.n_obs_steps, CONFIG.chunk_size)[i] for i in (0, 3, 10, 19)
    ]
    whole = default_collate(windows)
    counts = {name: model.mask(name, whole).sum() for name in ("action", "grasp")}
    parts = [
        model.loss(default_collate([window]), torch.Generator().manual_seed(2), Microbatch(i, 4, counts))
        for i, window in enumerate(windows)
    ]
    together = model.loss(whole, torch.Generator().manual_seed(2))
    for name, value in together.items():
        torch.testing.assert_close(torch.stack([part[name] for part in parts]).mean(), value)
