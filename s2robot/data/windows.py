"""THE window over an episode: a policy's history at step t, and the actions it is to predict there.

The dataset and the rollout both call these functions, so that padding cannot differ between them.
"""

from __future__ import annotations

import numpy as np


def history_window(t: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The last `size` steps up to and including t.

    Returns:
        steps: int (size,): t - size + 1 ... t; before the episode's start, step 0 again.
        timestep_pad_mask: bool (size,): False where a step lies before the start: padding, to be masked.
    """
    steps = np.arange(t - size + 1, t + 1)
    return np.maximum(steps, 0), steps >= 0


def previous_actions(actions: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The action before each step.

    Returns:
        before: (size, Da), zeros at step 0, which has none.
        prev_action_mask: bool (size,): False at step 0.
    """
    prev_action_mask = steps > 0
    before = np.zeros((len(steps), actions.shape[-1]), actions.dtype)
    before[prev_action_mask] = actions[steps[prev_action_mask] - 1]
    return before, prev_action_mask


def chunk_window(t: int | np.ndarray, size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The `size` steps from t on, or from each of several t.

    Returns:
        steps: int (..., size): t ... t + size - 1; after the episode's end, its last step again.
        inside: bool (..., size): False where a step lies after the end.
    """
    steps = np.asarray(t)[..., None] + np.arange(size)
    return np.minimum(steps, length - 1), steps < length
