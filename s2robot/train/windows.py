"""The parts of a training loop of your own: windows over demos, and an untrained policy that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s2robot.config.compose import compose
from s2robot.config.options import read_options, to_plain
from s2robot.config.overrides import as_overrides
from s2robot.data.dataset import EpisodeFeatures, WindowDataset
from s2robot.policy.policy import Policy
from s2robot.train.checkpointing import checkpoint_settings
from s2robot.train.demos import Demos, choose_demos, decide_variants, load_episode_features
from s2robot.train.init import with_defaults
from s2robot.train.model import untrained
from s2robot.train.options import TrainOptions
from s2robot.utils.distributed import World
from s2robot.vision.features import make_extractor

_RECORDED = ("cameras", "filter", "augment", "encoder", "bf16")


class DemoWindows(WindowDataset):
    """A torch Dataset: the training windows of demos; made by `load_windows`.

    Attributes:
        options: which demos, cameras and encoder, as `s2robot train` takes them.
        demos: the stores and their robot's spec.
        episodes: whole, with their features.
    """

    def __init__(self, options: TrainOptions, demos: Demos, episodes: Sequence[EpisodeFeatures]) -> None:
        super().__init__(episodes, options.policy.n_obs_steps, options.policy.chunk_size)
        self.options, self.demos, self.episodes = options, demos, episodes


def load_windows(
    demos: str | Path | Sequence[str | Path], *, n_obs_steps: int = 16, chunk_size: int = 16, **options: Any
) -> DemoWindows:
    """Every step of every demo as one training window, with the frozen encoder's features.

    Features that are missing are computed first and kept (`s2robot encode`). What a window holds, and its
    shapes: `s2robot.data.dataset.WindowDataset`.

    Args:
        demos: a store, or several of one robot.
        n_obs_steps, chunk_size: To observed steps and Ta predicted actions.
        options: of `s2robot train` that say which demos and features: `cameras`, `filter`, `features`,
            `encoder`, `augment`, `bf16`, `encode_workers`.

    Raises UserError as `s2robot train`.

    Examples:
        >>> windows = s2robot.load_windows("runs/demos", encoder={"name": "random-tiny", "sizes": [224]})
        >>> window = windows[0]
        >>> window["features/front"].shape, window["chunk"].shape
        (torch.Size([16, 197, 192]), torch.Size([16, 16, 4]))
    """
    policy = {"n_obs_steps": n_obs_steps, "chunk_size": chunk_size}
    paths = [demos] if isinstance(demos, str | Path) else list(demos)
    given = {"demos": paths, "encode_workers": 0, "policy": policy, **options}
    chosen = with_defaults(_read(given), as_overrides(given))
    found, world = choose_demos(chosen), World()
    chosen, _ = decide_variants(chosen, found)
    episodes = [
        e for source in found.sources for e in load_episode_features(source, found.spec, chosen, world)
    ]
    return DemoWindows(chosen, found, episodes)


def make_policy(windows: DemoWindows, *, seed: int = 0, **options: Any) -> Policy:
    """An untrained policy for these windows, to be trained by a loop of your own.

    Its normalisation of proprioception and actions and its standardisation of visual tokens have the
    statistics of the windows' episodes, as `s2robot train` gives them.

    Args:
        windows: what it is trained on.
        seed: of the weights; torch is seeded with it.
        options: of `configs/policy/`, e.g. `trunk="mlp"`, `width=64`, `transformer={"depth": 2}`.

    Raises UserError for options that no policy has.

    Examples:
        >>> windows = s2robot.load_windows("runs/demos", encoder={"name": "random-tiny", "sizes": [224]})
        >>> policy = s2robot.make_policy(windows, width=32, transformer={"depth": 1, "heads": 2})
        >>> optimiser = torch.optim.AdamW(policy.model.parameters(), lr=1e-3)
        >>> noise = torch.Generator().manual_seed(0)  # of the dropout of past actions, as in training
        >>> for window in torch.utils.data.DataLoader(windows, batch_size=8, shuffle=True):
        ...     loss = policy.model.train().loss(window, noise)["total"]
        ...     optimiser.zero_grad()
        ...     loss.backward()
        ...     optimiser.step()
        >>> policy.save("runs/own_loop")
    """
    sizes = {name: getattr(windows.options.policy, name) for name in ("n_obs_steps", "chunk_size")}
    chosen = _read({"demos": "windows", "seed": seed, "policy": {**options, **sizes}}).policy
    model = untrained(chosen, windows.demos.spec, windows.episodes, seed)
    training = {name: to_plain(windows.options)[name] for name in _RECORDED}
    training |= {"policy": asdict(chosen), "seed": seed}
    extractor = make_extractor(windows.options.encoder, windows.options.bf16)
    settings = checkpoint_settings(windows.options, windows.demos, extractor, training)
    return Policy(model, extractor, windows.demos.spec, settings)


def _read(options: dict[str, Any]) -> TrainOptions:
    """Options of `s2robot train`, of which the folder is not used."""
    return read_options(TrainOptions, compose("train", as_overrides({"out": "unused", **options})))
