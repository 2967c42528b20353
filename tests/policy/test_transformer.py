"""The transformer: causal over steps, blind to padding, and its loss counts what is to be learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import default_collate
from toy_loop import made_episode

from s2robot.core.errors import UserError
from s2robot.data.dataset import WindowDataset
from s2robot.policy.config import PolicyConfig
from s2robot.policy.normalize import Statistics
from s2robot.policy.trunks.transformer import Transformer

CONFIG = PolicyConfig(
    cameras={"front": (2, 2, 6)},
    proprio_dim=3,
    action_dim=2,
    n_obs_steps=6,
    chunk_size=4,
    width=16,
    trunk_options={"depth": 2, "heads": 2},
)
BATCH = 2
Inputs = dict[str, Tensor]


def made(config: PolicyConfig = CONFIG) -> Transformer:
    torch.manual_seed(0)
    statistics = (
        Statistics(np.full(3, 30.0), np.full(3, 20.0)),
        Statistics(np.full(2, 20.0), np.full(2, 10.0)),
    )
    return Transformer(config, *statistics).eval()


MODEL = made()


def inputs(seed: int = 0, padding: int = 0) -> Inputs:
    """Arguments of the transformer; the first `padding` steps are none."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.arange(CONFIG.n_obs_steps).expand(BATCH, -1)
    return {
        "visual": torch.randn(BATCH, CONFIG.n_obs_steps, 1, CONFIG.width, generator=generator),
        "proprio": torch.randn(BATCH, CONFIG.n_obs_steps, 3, generator=generator),
        "previous_action": torch.randn(BATCH, CONFIG.n_obs_steps, 2, generator=generator),
        "prev_action_mask": steps > padding,
        "timestep_pad_mask": steps >= padding,
    }


def changed(given: Inputs, name: str, step: int) -> Inputs:
    """The same inputs with another value at one step."""
    values = given[name].clone()
    values[:, step] = ~values[:, step] if values.dtype == torch.bool else 1 - 2 * values[:, step]
    return given | {name: values}


values = st.sampled_from(["visual", "proprio", "previous_action"])
steps = st.integers(0, CONFIG.n_obs_steps - 1)


def test_a_chunk_for_every_observed_step() -> None:
    assert MODEL(**inputs()).shape == (BATCH, CONFIG.n_obs_steps, CONFIG.chunk_size, CONFIG.action_dim)


@torch.inference_mode()
@given(st.one_of(values, st.just("prev_action_mask")), steps, st.integers(0, 99))
def test_a_later_step_changes_no_earlier_prediction(name: str, step: int, seed: int) -> None:
    before, after = MODEL(**inputs(seed)), MODEL(**changed(inputs(seed), name, step))
    torch.testing.assert_close(before[:, :step], after[:, :step], rtol=0, atol=1e-6)
    if name != "previous_action" or step > 0:  # step 0 knows no action
        assert (before[:, step:] - after[:, step:]).abs().amax((0, 2, 3)).min() > 1e-6, (
            "those from it on see it"
        )


@torch.inference_mode()
@given(values, st.integers(1, CONFIG.n_obs_steps - 1), st.data())
def test_padding_cannot_leak(name: str, padding: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, padding - 1))
    before, after = MODEL(**inputs(0, padding)), MODEL(**changed(inputs(0, padding), name, step))
    torch.testing.assert_close(before[:, padding:], after[:, padding:], rtol=0, atol=1e-6)
    assert after.isfinite().all(), "nor is it NaN in padding itself"


@torch.inference_mode()
@given(steps)
def test_an_unknown_action_is_not_read(step: int) -> None:
    hidden = inputs() | {"prev_action_mask": torch.zeros(BATCH, CONFIG.n_obs_steps, dtype=torch.bool)}
    torch.testing.assert_close(MODEL(**hidden), MODEL(**changed(hidden, "previous_action", step)))


@torch.inference_mode()
def test_each_of_a_batch_is_on_its_own() -> None:
    one, other = inputs(1, padding=2), inputs(2)
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    together = MODEL(**both)
    torch.testing.assert_close(together[:BATCH], MODEL(**one), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[BATCH:], MODEL(**other), rtol=0, atol=1e-5)


# ---------------------------------------------------------------------- loss


def batch(**changes: Any) -> dict[str, Tensor]:
    """Windows at the ends of steps 2 and 9 of an episode."""
    action = made_episode().action.copy()
    action[:, -1] = np.where(np.arange(20) < 12, -1, 1)
    windows = WindowDataset([made_episode(action=action)], CONFIG.n_obs_steps, CONFIG.chunk_size)
    return default_collate([windows[2], windows[9]]) | changes


def loss(window: dict[str, Tensor], name: str = "total", seed: int | None = None, **config: Any) -> Tensor:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return made(replace(CONFIG, **config)).loss(window, generator)[name]


@pytest.mark.parametrize(
    ("name", "mask", "target"), [("action", "action_loss_mask", "chunk"), ("grasp", "before_grasp", "grasp")]
)
def test_nothing_to_learn_is_no_loss(name: str, mask: str, target: str) -> None:
    window = batch()
    nothing = {mask: torch.zeros_like(window[mask])}
    assert loss(window, name) > 0
    assert loss(batch(**nothing), name) == 0
    assert loss(batch(**nothing, **{target: window[target] + 5}), name) == 0


def test_features_without_those_of_padding_give_the_same_loss() -> None:
    window = batch()
    observed = {"features/front": window["features/front"][window["timestep_pad_mask"]]}
    for name in ("action", "grasp"):
        assert loss(batch(**observed), name, seed=3) == loss(window, name, seed=3)


def test_a_masked_action_adds_nothing_and_an_unmasked_one_does() -> None:
    action_loss_mask = batch()["action_loss_mask"].clone()
    action_loss_mask[1, 3, 2] = False
    assert batch()["action_loss_mask"][1, 3, 2]
    masked, elsewhere = batch()["chunk"].clone(), batch()["chunk"].clone()
    masked[1, 3, 2] += 100
    elsewhere[1, 3, 1] += 100
    assert loss(batch(action_loss_mask=action_loss_mask), "action") == loss(
        batch(action_loss_mask=action_loss_mask, chunk=masked), "action"
    )
    assert loss(batch(action_loss_mask=action_loss_mask), "action") != loss(
        batch(action_loss_mask=action_loss_mask, chunk=elsewhere), "action"
    )


def test_padding_adds_nothing_to_the_loss() -> None:
    window = batch()
    padding = ~window["timestep_pad_mask"]
    assert padding[0].sum() == 3 and padding[1].sum() == 0
    garbled = {name: window[name].clone() for name in ("proprio", "previous_action", "features/front")}
    for array in garbled.values():
        array[padding] = 77
    for name in ("action", "grasp", "total"):
        torch.testing.assert_close(loss(batch(**garbled), name), loss(window, name))


def test_the_loss_is_the_mean_over_what_is_learned() -> None:
    window = batch()
    model = made()
    with torch.inference_mode():
        visual = model.pool("front", window["features/front"].float())[:, :, None]
        given = (
            model.proprio_normalizer(window["proprio"]),
            model.action_normalizer(window["previous_action"]),
        )
        prediction = model(visual, *given, window["prev_action_mask"], window["timestep_pad_mask"])
    error = (prediction - model.action_normalizer(window["chunk"]))[window["action_loss_mask"]].abs()
    torch.testing.assert_close(loss(window, "action"), error.mean())
    for weight in (0.0, 2.0):
        action, grasp, total = (loss(window, n, grasp_weight=weight) for n in ("action", "grasp", "total"))
        torch.testing.assert_close(total, action + weight * grasp)


def test_the_grasp_is_told_from_vision_alone() -> None:
    window = batch()
    others = {name: window[name] + 1 for name in ("previous_action", "proprio")}
    place = {"grasp_target": "position"}
    assert loss(batch(**others), "grasp", **place) == loss(window, "grasp", **place)
    assert loss(batch(previous_action=others["previous_action"]), "grasp") == loss(window, "grasp")
    assert loss(batch(**{"features/front": window["features/front"] * 2}), "grasp") != loss(window, "grasp")


def test_an_offset_is_learned_from_where_the_gripper_is() -> None:
    window, shift = batch(), torch.tensor(3.0)
    both = {name: window[name] + shift for name in ("grasp", "proprio")}
    for target, alike in (("offset", batch(**both)), ("position", batch(proprio=both["proprio"]))):
        torch.testing.assert_close(
            loss(alike, "grasp", grasp_target=target), loss(window, "grasp", grasp_target=target)
        )
    nearer = batch(proprio=both["proprio"])
    assert loss(nearer, "grasp", grasp_target="offset") != loss(window, "grasp", grasp_target="offset")


def test_only_the_entries_that_say_where_are_told_of_the_grasp() -> None:
    def told(changed: int) -> Tensor:
        grasp = batch()["grasp"].clone()
        grasp[:, changed] += 50
        return loss(batch(grasp=grasp), "grasp", grasp_state_indices=(0, 2))

    unchanged = loss(batch(), "grasp", grasp_state_indices=(0, 2))
    assert told(1) == unchanged
    assert told(0) != unchanged and told(2) != unchanged


def test_the_trunk_is_told_the_way_left_to_where_vision_says_the_grasp_will_be() -> None:
    place = replace(CONFIG, grasp_state_indices=(0, 2), grasp_target="position")
    model, given, told = made(place), inputs(), []
    model.proprio_embed.register_forward_pre_hook(lambda _, arguments: told.append(arguments[0]))
    with torch.inference_mode():
        model(**given)
        guess = model.grasp_head(given["visual"][:, :, 0])
    way = guess - given["proprio"][..., [0, 2]]
    torch.testing.assert_close(told[0], torch.cat([given["proprio"], way], dim=-1))
    with torch.inference_mode():
        model.config = replace(model.config, grasp_target="offset")
        model(**given)
    torch.testing.assert_close(told[1], torch.cat([given["proprio"], guess], dim=-1))


def test_what_the_trunk_would_like_to_be_told_does_not_move_the_guess() -> None:
    model = made()
    model.loss(batch())["action"].backward()
    assert all(p.grad is None for p in model.grasp_head.parameters())
    model.loss(batch())["grasp"].backward()
    assert all(p.grad is not None for p in model.grasp_head.parameters())


@pytest.mark.parametrize("without", [{"grasp_conditioning": False}, {"grasp_weight": 0.0}, {"vision": False}])
def test_without_a_guess_the_trunk_is_told_none(without: dict[str, Any]) -> None:
    model = made(replace(CONFIG, **without))
    assert model.proprio_embed[0].in_features == CONFIG.proprio_dim
    told = made().proprio_embed[0].in_features  # of every entry, where none is named
    assert told == 2 * CONFIG.proprio_dim


def test_visual_dropout_hides_the_visual_tokens_and_not_what_the_trunk_is_told_of_them() -> None:
    window, other = batch(), batch(**{"features/front": batch()["features/front"] * 2})

    def differs(name: str, guesses: bool = True, **options: Any) -> bool:
        model = made(replace(CONFIG, **options))
        if not guesses:
            for parameter in model.grasp_head.parameters():
                parameter.detach().zero_()  # the trunk is told the same whatever is seen
        first, second = (model.loss(w, torch.Generator().manual_seed(1))[name] for w in (window, other))
        return bool(first != second)

    assert differs("action", visual_dropout=1.0)
    assert differs("action", guesses=False, visual_dropout=0.0)
    assert not differs("action", guesses=False, visual_dropout=1.0)
    assert differs("grasp", visual_dropout=1.0), "the guess is learned all the same"
    assert differs("action", visual_dropout=1.0, grasp_conditioning=False), (
        "a trunk that is told nothing sees"
    )


def test_action_dropout_hides_past_actions_in_training_only() -> None:
    window, other = batch(), batch(previous_action=batch()["previous_action"] + 10)
    assert loss(window, seed=1, action_dropout=1.0) == loss(other, seed=1, action_dropout=1.0)
    assert loss(window, seed=1, action_dropout=0.0) != loss(other, seed=1, action_dropout=0.0)
    assert loss(window, action_dropout=1.0) != loss(other, action_dropout=1.0), "not in validation"


def test_action_dropout_hides_the_actions_of_its_share_of_the_windows() -> None:
    class Watched(Transformer):
        def steps(self, *given: Tensor) -> Tensor:
            shown.append(given[3])
            return super().steps(*given)

    shown: list[Tensor] = []
    model = Watched(replace(CONFIG, action_dropout=0.25))
    many = default_collate([WindowDataset([made_episode()], CONFIG.n_obs_steps, CONFIG.chunk_size)[12]] * 400)
    model.loss(many, torch.Generator().manual_seed(0))
    known = shown[0]
    assert torch.equal(known.any(1), known.all(1)), "all of a window's, or none"
    assert known.any(1).float().mean() == pytest.approx(0.75, abs=0.08)


def test_noise_on_proprioception_comes_from_the_generator() -> None:
    quiet = {"action_dropout": 0.0, "proprio_noise": 0.0}
    noisy = quiet | {"proprio_noise": 0.5}
    window = batch()
    assert loss(window, "action", seed=1, **quiet) == loss(window, "action")
    assert loss(window, "action", seed=1, **noisy) == loss(window, "action", seed=1, **noisy)
    assert loss(window, "action", seed=1, **noisy) != loss(window, "action", seed=2, **noisy)


@settings(max_examples=5)
@given(st.integers(0, 99))
def test_a_few_steps_of_training_lower_the_loss(seed: int) -> None:
    torch.manual_seed(seed)
    model = Transformer(CONFIG, Statistics(np.full(3, 30.0), np.full(3, 20.0)), None)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = model.loss(batch())["total"].item()
    for _ in range(15):
        optimiser.zero_grad()
        model.loss(batch())["total"].backward()
        optimiser.step()
    assert model.loss(batch())["total"].item() < 0.9 * first


# ---------------------------------------------------------------------- configuration


def test_a_configuration_survives_its_plain_form() -> None:
    config = replace(CONFIG, cameras={"wrist": (2, 2, 6), "front": (4, 4, 3)}, pooling="attention")
    assert PolicyConfig.from_dict(config.to_dict()) == config


def test_an_unknown_option_and_a_missing_one_are_told() -> None:
    with pytest.raises(UserError, match="^unknown policy option 'widht': did you mean 'width'?"):
        PolicyConfig.from_dict(CONFIG.to_dict() | {"widht": 3})
    with pytest.raises(UserError, match="^policy lacks action_dim; it has "):
        PolicyConfig.from_dict({k: v for k, v in CONFIG.to_dict().items() if k != "action_dim"})


def test_a_recorded_policy_has_no_defaults() -> None:
    """They may have been others when it was trained."""
    for name in CONFIG.to_dict():
        with pytest.raises(UserError, match=f"policy lacks {name}; it has"):
            PolicyConfig.from_dict({k: v for k, v in CONFIG.to_dict().items() if k != name})


def test_cameras_have_poolings_of_their_own() -> None:
    model = made(replace(CONFIG, cameras={"front": (2, 2, 6), "wrist": (2, 2, 6)}))
    features = torch.randn(2, 3, 5, 6)
    assert model.pool("front", features).shape == (2, 3, CONFIG.width)
    assert not torch.allclose(model.pool("front", features), model.pool("wrist", features))
