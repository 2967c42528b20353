"""A demo store and its feature cache as training windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from s2robot.core.errors import UserError
from s2robot.core.spec import GripperSpec
from s2robot.data.memmap import Array, concatenated
from s2robot.data.windows import chunk_window, history_window, previous_actions

To = Ta = 16
"""Observed steps and predicted actions (S² paper, section on robotic manipulation; RPT)."""

_CLOSING = 6
"""Steps over which the place of a grasp is averaged: a hand trembles, or is disturbed, while it closes."""


@dataclass(frozen=True)
class EpisodeFeatures:
    """One episode for training; every array has length T.

    Attributes:
        features: camera -> float16 (T, 1 + N, C), in memory or on disk.
        proprio: float32 (T, Dp). action: float32 (T, Da), as commanded.
        action_loss_mask: bool (T,): False where an action is not to be learned (a planned miss).
        variants: further features of the same steps, as of other light (`s2robot.vision.augment`).
        grippers: the action entries that command grippers; of several, the first one grasps.
        shapes: camera -> (h, w, C), rows, columns and channels of its patches: N = h · w. The first
            episode's decide the sizes of a new policy.
    """

    features: Mapping[str, Array]
    proprio: np.ndarray
    action: np.ndarray
    action_loss_mask: np.ndarray
    variants: tuple[Mapping[str, Array], ...] = ()
    grippers: tuple[GripperSpec, ...] = ()
    shapes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, array in (("proprio", self.proprio), ("action", self.action)):
            if not np.isfinite(array).all():
                step = int(np.argwhere(~np.isfinite(array))[0][0])
                raise UserError(f"{name} is not finite at step {step}: drop this episode")

    @property
    def length(self) -> int:
        return len(self.action)

    def grasp(self) -> int | None:
        """The last step at which the first gripper turns from open to closed; None where there is none."""
        if not self.grippers:
            return None
        closed = self.grippers[0].is_closed(self.action)
        turns = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
        return int(turns[-1]) if len(turns) else None


class WindowDataset(Dataset[dict[str, Tensor]]):
    """Every step of every episode is the end of one window, and of one more for each variant of its images.

    Raises UserError where episodes have different numbers of variants.
    """

    def __init__(
        self, episodes: Sequence[EpisodeFeatures], n_obs_steps: int = To, chunk_size: int = Ta
    ) -> None:
        self._episodes = episodes
        self._n_obs_steps, self._chunk_size = n_obs_steps, chunk_size
        self._starts = np.cumsum([0, *(episode.length for episode in episodes)])
        variants = {len(episode.variants) for episode in episodes} or {0}
        if len(variants) > 1:
            raise UserError(
                f"episodes of {min(variants)} to {max(variants)} variants: expected as many of each"
            )
        self._versions = 1 + variants.pop()

    def __len__(self) -> int:
        return int(self._starts[-1]) * self._versions

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """One window, not normalised:

        features/<camera> float16 (To, 1 + N, C); proprio (To, Dp); timestep_pad_mask (To,) bool;
        previous_action (To, Da) with prev_action_mask (To,) bool;
        chunk (To, Ta, Da), the actions from each observed step on, with action_loss_mask (To, Ta) bool;
        grasp (Dp,), the mean proprioception over the first steps of the grasp that is still to come, with
        before_grasp (To,) bool.
        """
        features, episode, t = self._place(item)
        steps, _ = history_window(t, self._n_obs_steps)
        read = {name: concatenated([f], [slice(steps[0], t + 1)]) for name, f in features.items()}
        window = {f"features/{name}": torch.from_numpy(a[steps - steps[0]]) for name, a in read.items()}
        return window | self._arrays(episode, t)

    def batch(self, items: Sequence[int]) -> dict[str, Tensor]:
        """Windows collated, windows first, but of the features only those that are no padding:

        features/<camera> float16 (F, 1 + N, C), F the True entries of `timestep_pad_mask` in their order.
        """
        places = [self._place(item) for item in items]
        slices = [slice(max(0, t - self._n_obs_steps + 1), t + 1) for _, _, t in places]
        cameras = places[0][0]
        read = {name: concatenated([features[name] for features, _, _ in places], slices) for name in cameras}
        features = {f"features/{name}": torch.from_numpy(array) for name, array in read.items()}
        return features | default_collate([self._arrays(episode, t) for _, episode, t in places])

    def _place(self, item: int) -> tuple[Mapping[str, Array], EpisodeFeatures, int]:
        """The features, the episode and the last step of a window."""
        if not 0 <= item < len(self):
            raise IndexError(item)
        version, item = divmod(item, int(self._starts[-1]))
        i = int(np.searchsorted(self._starts, item, side="right")) - 1
        episode = self._episodes[i]
        features = episode.variants[version - 1] if version else episode.features
        return features, episode, int(item - self._starts[i])

    def _arrays(self, episode: EpisodeFeatures, t: int) -> dict[str, Tensor]:
        """All of a window but its features."""
        steps, timestep_pad_mask = history_window(t, self._n_obs_steps)
        before, prev_action_mask = previous_actions(episode.action, steps)
        chunk_steps, inside = chunk_window(steps, self._chunk_size, episode.length)
        grasp = episode.grasp()
        arrays = {
            "proprio": episode.proprio[steps],
            "previous_action": before,
            "prev_action_mask": prev_action_mask & timestep_pad_mask,
            "timestep_pad_mask": timestep_pad_mask,
            "chunk": episode.action[chunk_steps],
            "action_loss_mask": inside & episode.action_loss_mask[chunk_steps] & timestep_pad_mask[:, None],
            "grasp": episode.proprio[grasp or 0 :][:_CLOSING].mean(axis=0),
            "before_grasp": timestep_pad_mask
            & episode.action_loss_mask[steps]
            & (steps <= (-1 if grasp is None else grasp)),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
