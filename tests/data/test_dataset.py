"""Training windows: what is shown, what is to be chunk_size, what is masked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate
from toy_loop import made_episode

from s2robot.core.errors import UserError
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.data.memmap import MappedArray

LENGTH = 20


def gripper(*commands: float) -> np.ndarray:
    """Actions (T, 2) whose last entry is the gripper's command."""
    return np.stack([np.zeros(len(commands)), commands], axis=1).astype(np.float32)


def steps_of(window: dict[str, torch.Tensor]) -> np.ndarray:
    """The steps of a window of `made_episode`, told by its proprioception."""
    return (window["proprio"][:, 0] / 3).int().numpy()


def test_every_step_of_every_episode_is_the_end_of_one_window() -> None:
    episodes = [made_episode(5), made_episode(9), made_episode(1)]
    dataset = WindowDataset(episodes, n_obs_steps=4, chunk_size=3)
    ends = [int(steps_of(dataset[i])[-1]) for i in range(len(dataset))]
    assert ends == [*range(5), *range(9), *range(1)]


@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_window_holds_its_steps_and_the_actions_from_each_on(
    length: int, n_obs_steps: int, chunk_size: int, data: st.DataObject
) -> None:
    episode = made_episode(length)
    t = data.draw(st.integers(0, length - 1))
    window = WindowDataset([episode], n_obs_steps, chunk_size)[t]
    steps = steps_of(window)
    assert window["timestep_pad_mask"].sum() == min(n_obs_steps, t + 1)
    assert np.array_equal(window["features/front"].numpy(), episode.features["front"][steps])
    assert window["chunk"].shape == (n_obs_steps, chunk_size, 2)
    for row in np.flatnonzero(window["timestep_pad_mask"]):
        inside = episode.action[steps[row] : steps[row] + chunk_size]
        assert window["action_loss_mask"][row].sum() == len(inside)
        assert np.array_equal(window["chunk"][row][window["action_loss_mask"][row]], inside)
    assert not window["action_loss_mask"][~window["timestep_pad_mask"]].any(), "padding is not learned from"


def test_a_batch_is_its_windows_without_the_features_of_padding(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made_episode(9).features["front"])
    episodes = [made_episode(9, features={"front": MappedArray.open(tmp_path / "a.npy")}), made_episode(5)]
    dataset = WindowDataset(episodes, n_obs_steps=4, chunk_size=3)
    items = [8, 1, 9, 12]
    batch, collated = dataset.batch(items), default_collate([dataset[i] for i in items])
    assert batch.keys() == collated.keys()
    observed = collated["timestep_pad_mask"]
    assert observed.sum(1).tolist() == [4, 2, 1, 4]
    assert torch.equal(batch.pop("features/front"), collated["features/front"][observed])
    assert all(torch.equal(value, collated[name]) for name, value in batch.items())


def test_previous_actions_are_known_but_at_step_0_and_in_padding() -> None:
    window = WindowDataset([made_episode(LENGTH)], n_obs_steps=6, chunk_size=2)[3]
    assert window["prev_action_mask"].tolist() == [False, False, False, True, True, True]
    assert window["previous_action"].tolist()[2:] == [[0, 0], [1, 2], [3, 4], [5, 6]]


def test_actions_not_to_be_imitated_are_masked_wherever_a_chunk_holds_them() -> None:
    action_loss_mask = np.ones(LENGTH, bool)
    action_loss_mask[[4, 5]] = False
    window = WindowDataset(
        [made_episode(LENGTH, action_loss_mask=action_loss_mask)], n_obs_steps=3, chunk_size=4
    )[4]
    assert window["action_loss_mask"].tolist() == [
        [True, True, False, False],  # from step 2: 2, 3, 4, 5
        [True, False, False, True],
        [False, False, True, True],
    ]


@pytest.mark.parametrize(
    ("commands", "step"),
    [
        ([-1, -1, 1, 1], 2),
        ([-1, 1, -1, 1, 1], 3),  # the last one: the grasp after a miss
        ([-1, -1, -1], None),
        ([1, 1, 1], None),  # closed from the start: no grasp is seen
        ([1, -1, 1], 2),
        ([-1], None),
    ],
)
def test_the_grasp_is_where_the_gripper_closes_last(commands: list[float], step: int | None) -> None:
    length = len(commands)
    assert made_episode(length, action=gripper(*commands)).grasp() == step


def test_the_grasp_to_come_is_told_up_to_it_and_not_after() -> None:
    episode = made_episode(8, action=gripper(-1, -1, -1, -1, 1, 1, 1, 1))
    window = WindowDataset([episode], n_obs_steps=8, chunk_size=1)[7]
    assert window["before_grasp"].tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize("length", [7, 12])
def test_the_place_of_the_grasp_is_a_mean_while_the_gripper_closes(length: int) -> None:
    """A hand that trembles, or is disturbed, is rarely at the place it keeps to."""
    episode = made_episode(length, action=gripper(*[-1] * 4, *[1] * (length - 4)))
    grasp = WindowDataset([episode], n_obs_steps=8, chunk_size=1)[length - 1]["grasp"]
    np.testing.assert_allclose(grasp, episode.proprio[4:10].mean(0), rtol=1e-6)


def test_no_grasp_is_told_in_padding_in_planned_mistakes_and_without_one() -> None:
    action_loss_mask = np.array([True, False, True, True])
    episode = made_episode(4, action=gripper(-1, -1, -1, 1), action_loss_mask=action_loss_mask)
    window = WindowDataset([episode], n_obs_steps=5, chunk_size=1)[2]
    assert window["before_grasp"].tolist() == [False, False, True, False, True]
    none = WindowDataset([made_episode(4, action=gripper(-1, -1, -1, -1))], n_obs_steps=4, chunk_size=1)[3]
    assert not none["before_grasp"].any()


@pytest.mark.parametrize("name", ["proprio", "action"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    array = getattr(made_episode(LENGTH), name).copy()
    array[7, 1] = value
    with pytest.raises(UserError, match=f"^{name} is not finite at step 7: [^\n]+$"):
        made_episode(LENGTH, **{name: array})


def test_a_window_does_not_write_through_to_the_episode() -> None:
    episode: EpisodeFeatures = made_episode(LENGTH)
    before = episode.proprio.copy(), episode.action.copy(), episode.features["front"].copy()
    for tensor in WindowDataset([episode])[10].values():
        tensor.zero_()
    assert all(map(np.array_equal, before, (episode.proprio, episode.action, episode.features["front"])))
