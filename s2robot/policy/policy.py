"""A trained policy: frames and proprioception in, actions out. And how its chunks are executed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from s2robot.core.errors import UserError, unknown
from s2robot.core.spec import Observation, RobotSpec
from s2robot.data.windows import history_window, previous_actions
from s2robot.policy.model import PolicyModel
from s2robot.vision.features import FeatureExtractor


class Predictor(Protocol):
    """What the executors below ask for actions: a policy here, or one on another machine."""

    @property
    def chunk_size(self) -> int:
        """Ta, the actions of a chunk."""
        ...

    def reset(self) -> None:
        """A new episode begins."""
        ...

    def observe(self, observation: Observation) -> None:
        """Takes one step's observation."""
        ...

    def predict(self) -> np.ndarray:
        """The chunk (Ta, Da) from the last observed step on."""
        ...

    def record_action(self, action: np.ndarray) -> None:
        """Takes note of an action (Da,)."""
        ...


class Policy:
    """History, encoder, normaliser and model of one running episode.

    It is an actor: `act` executes the first `N_ACTION_STEPS` actions of each chunk. Whoever executes chunks
    otherwise calls `observe` with each observation, `predict` when a chunk is needed, and `record_action`
    with each action commanded. The model and the extractor are only read: policies may share them.

    Args:
        settings: what its checkpoint says beside the weights: encoder, environment, training.
    """

    def __init__(
        self,
        model: PolicyModel,
        extractor: FeatureExtractor,
        spec: RobotSpec,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.extractor = extractor
        self.spec = spec
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """A new episode: forgets the last one. A model that was being trained acts without dropout."""
        self.model.eval()
        self._visual: list[torch.Tensor] = []
        self._proprio: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._observed: list[bool] = []
        self._noise = torch.Generator().manual_seed(0)  # a flow's: an episode is repeatable
        self._queue: deque[np.ndarray] = deque()

    def act(self, observation: Observation) -> np.ndarray:
        """The action (Da,) for this observation. Raises UserError as `observe`."""
        return act_by_chunks(self, self._queue, N_ACTION_STEPS, observation)

    def save(self, folder: str | Path) -> None:
        """Writes a checkpoint that `load_policy` reads. Raises UserError without `settings`."""
        from s2robot.policy.checkpoint import save_checkpoint  # here: it imports this module

        if self.settings is None:
            raise UserError("this policy does not say by which demos and encoder it was made: not saved")
        save_checkpoint(Path(folder), self.model, self.spec, dict(self.settings))

    @property
    def chunk_size(self) -> int:
        """Ta, the actions of a chunk."""
        return self.model.config.chunk_size

    @torch.inference_mode()
    def observe(self, observation: Observation) -> None:
        """Takes one step's observation. Raises UserError for other cameras or another proprioception."""
        self._check(observation)
        self._step(self._look(observation), np.asarray(observation["proprio"], np.float32), observed=True)

    @torch.inference_mode()
    def predict(self) -> np.ndarray:
        """The chunk (Ta, Da) from the last observed step on."""
        steps, timestep_pad_mask = history_window(len(self._proprio) - 1, self.model.config.n_obs_steps)
        actions = np.array(self._actions, np.float32).reshape(-1, self.spec.action_dim)
        before, prev_action_mask = previous_actions(actions, steps)
        timestep_pad_mask &= np.array(self._observed)[steps]
        m = self.model
        prediction = m(
            torch.stack([self._visual[s] for s in steps])[None],
            m.proprio_normalizer(torch.from_numpy(np.stack([self._proprio[s] for s in steps])))[None],
            m.action_normalizer(torch.from_numpy(before))[None],
            torch.from_numpy(prev_action_mask & timestep_pad_mask)[None],
            torch.from_numpy(timestep_pad_mask)[None],
            self._noise,
        )
        return m.action_normalizer.inverse(prediction[0, -1]).numpy()

    @torch.inference_mode()
    def grasp_offset(self) -> np.ndarray | None:
        """From the gripper to the predicted grasp, at the last observation (m, 3).

        None without a grasp prediction, or where the proprioception lacks the gripper's position.
        """
        m, entries = self.model, list(self.model.config.grasp_state_indices)
        if not (m.config.predicts_grasp and entries):
            return None
        proprio = m.proprio_normalizer(torch.from_numpy(self._proprio[-1]))
        offset = m.grasp_offset(self._visual[-1][None, None], proprio[None, None])[0, 0]
        return (offset * m.proprio_normalizer.std[entries]).numpy()

    def record_action(self, action: np.ndarray) -> None:
        """Takes note of the action commanded at the last observation.

        A further one without an observation between stands for a step that was not observed: it is masked.
        """
        if len(self._actions) == len(self._proprio):
            config = self.model.config
            visual = torch.zeros(len(config.active_cameras), config.width)
            self._step(visual, np.zeros(config.proprio_dim, np.float32), observed=False)
        self._actions.append(np.asarray(action, np.float32))

    def _look(self, observation: Observation) -> torch.Tensor:
        """The visual tokens (K, width) of an observation."""
        cameras = self.model.config.active_cameras
        if not cameras:
            return torch.zeros(0, self.model.config.width)
        images = observation["images"]
        for name in cameras:
            self._check_shape(name, np.shape(images[name]))
        features = self.extractor.of_cameras(images, cameras)
        tokens = {name: torch.from_numpy(found).float()[None] for name, found in features.items()}
        return torch.cat([self.model.pool(name, tokens[name]) for name in cameras])

    def _step(self, visual: torch.Tensor, proprio: np.ndarray, observed: bool) -> None:
        """Goes on by a step and forgets those that are in no window any more."""
        self._visual.append(visual)
        self._proprio.append(proprio)
        self._observed.append(observed)
        kept = self.model.config.n_obs_steps + 1  # one more: the action before the window counts
        if len(self._observed) > kept:
            for entries in (self._visual, self._proprio, self._actions, self._observed):
                del entries[0]

    def _check_shape(self, camera: str, frame: tuple[int, ...]) -> None:
        """Of a fit by tiles: a frame of another shape has another grid of patches."""
        found = self.extractor.map_shape((frame[0], frame[1]), camera)
        if found != self.model.config.cameras[camera]:
            trained = self.spec.cameras[camera]
            raise UserError(
                f"{camera} gives frames of {frame[0]} x {frame[1]} px, the policy was trained on "
                f"{trained[0]} x {trained[1]}: with encoder.fit=tiles they must be of one shape"
            )

    def _check(self, observation: Observation) -> None:
        for name in self.model.config.active_cameras:
            if name not in observation["images"]:
                raise unknown("camera", name, observation["images"])
        shape = np.shape(observation["proprio"])
        if shape != (self.spec.proprio_dim,):
            raise UserError(
                f"proprioception of shape {shape}: this policy was trained on ({self.spec.proprio_dim},): "
                f"{', '.join(self.spec.proprio)}"
            )


N_ACTION_STEPS = 2
"""Actions of a chunk that are executed by default: with more, the gripper closes late or early."""


class ChunkExecutor:
    """Executes the first `n_action_steps` actions of a chunk, then predicts anew."""

    def __init__(self, policy: Predictor, n_action_steps: int = N_ACTION_STEPS) -> None:
        if not 1 <= n_action_steps <= policy.chunk_size:
            raise UserError(
                f"n_action_steps={n_action_steps}: expected 1 to {policy.chunk_size}, the actions it predicts"
            )
        self.policy = policy
        self.n_action_steps = n_action_steps
        self._queue: deque[np.ndarray] = deque()

    def reset(self) -> None:
        self.policy.reset()
        self._queue.clear()

    def act(self, observation: Observation) -> np.ndarray:
        return act_by_chunks(self.policy, self._queue, self.n_action_steps, observation)


def act_by_chunks(
    policy: Predictor, queue: deque[np.ndarray], n_action_steps: int, observation: Observation
) -> np.ndarray:
    """The next action in the queue, which is filled anew by the first actions of a chunk once it is empty."""
    policy.observe(observation)
    if not queue:
        queue.extend(policy.predict()[:n_action_steps])
    action = queue.popleft()
    policy.record_action(action)
    return action


class TemporalEnsemble:
    """Predicts at every step and averages all chunks that hold it (ACT, Zhao et al. 2023, section IV-A).

    The weights are exp(-decay · i), i = 0 the oldest.
    """

    def __init__(self, policy: Predictor, decay: float = 0.2) -> None:
        self.policy = policy
        self.decay = decay
        self._chunks: deque[np.ndarray] = deque(maxlen=policy.chunk_size)

    def reset(self) -> None:
        self.policy.reset()
        self._chunks.clear()

    def act(self, observation: Observation) -> np.ndarray:
        self.policy.observe(observation)
        self._chunks.append(self.policy.predict())
        count = len(self._chunks)
        spoken = np.stack([chunk[count - 1 - i] for i, chunk in enumerate(self._chunks)])
        weights = np.exp(-self.decay * np.arange(count))
        action = (weights[:, None] * spoken).sum(0) / weights.sum()
        self.policy.record_action(action.astype(np.float32))
        return action.astype(np.float32)
