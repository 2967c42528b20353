"""What runs in a peer's own environment: `python -I peer_training.py JSON` trains its policy for a while.

It runs on Python 3.9 and shares nothing with s2robot: the last line of its output is JSON, what libraries
print goes to standard error. Our own training is timed by `measured` too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from itertools import chain, repeat
from pathlib import Path
from typing import Any

Step = Callable[[], float]
"""Reads a batch of windows and takes an optimiser step; the loss."""

_REPO = "s2robot/local"  # lerobot requires a name on the hub, which is not used


def measured(step: Step, policy: Any, steps: int, seconds: float) -> dict[str, Any]:
    """Times as many steps at least, for as long at least, after one that does not count."""
    losses = [step()]  # the first one warms up
    began = time.perf_counter()
    while len(losses) <= steps or time.perf_counter() - began < seconds:
        losses.append(step())
    took = time.perf_counter() - began
    sizes = [(p.numel(), p.requires_grad) for p in policy.parameters()]
    return {
        "steps": len(losses) - 1,
        "seconds": took,
        "trained_parameters": sum(size for size, is_trained in sizes if is_trained),
        "frozen_parameters": sum(size for size, is_trained in sizes if not is_trained),
        "losses": losses,
        "peak_memory": peak_resident(),
    }


def peak_resident() -> int:
    """Bytes of this process's memory at its peak so far; `getrusage` may tell that of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


# ---------------------------------------------------------------------- lerobot's policies


def _lerobot(options: dict[str, Any]) -> tuple[Step, Any, dict[str, Any]]:
    """A policy as lerobot trains it, but its backbone starts from random weights: nothing is fetched."""
    import torch
    from lerobot.configs.train import TrainPipelineConfig  # type: ignore[import-not-found]
    from lerobot.datasets.factory import resolve_delta_timestamps  # type: ignore[import-not-found]
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]
    from lerobot.policies.factory import (  # type: ignore[import-not-found]
        get_policy_class,
        make_pre_post_processors,
    )

    meta = LeRobotDataset(_REPO, root=options["demos"]).meta
    config = _lerobot_config(options["policy"], meta.features)
    policy = get_policy_class(options["policy"])(config)
    policy.train()
    before, _ = make_pre_post_processors(config, dataset_stats=meta.stats)
    deltas = resolve_delta_timestamps(config, meta)
    windows = LeRobotDataset(_REPO, root=options["demos"], delta_timestamps=deltas)
    batches = _batches(torch.utils.data.DataLoader(windows, options["batch_size"], shuffle=True))
    preset = config.get_optimizer_preset()
    optimiser = preset.build(policy.get_optim_params())

    def step() -> float:
        loss, _ = policy.forward(before(next(batches)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    usual: dict[str, Any] = {f.name: f.default for f in fields(TrainPipelineConfig)}
    size = getattr(config, "crop_shape", None) or next(iter(config.image_features.values())).shape[1:]
    about = {"image_size": list(size), "n_obs_steps": config.n_obs_steps}
    about["chunk_size"] = len(config.action_delta_indices)
    return step, policy, {**about, "usual_windows": usual["steps"] * usual["batch_size"]}


def _lerobot_config(policy: str, features: Any) -> Any:
    from lerobot.configs import FeatureType  # type: ignore[import-not-found]
    from lerobot.policies.factory import make_policy_config  # type: ignore[import-not-found]
    from lerobot.utils.feature_utils import dataset_to_policy_features  # type: ignore[import-not-found]

    known = dataset_to_policy_features(features)
    outputs = {name: f for name, f in known.items() if f.type is FeatureType.ACTION}
    inputs = {name: f for name, f in known.items() if name not in outputs}
    return make_policy_config(
        policy,
        input_features=inputs,
        output_features=outputs,
        pretrained_backbone_weights=None,
        device="cpu",
    )


# ---------------------------------------------------------------------- Diffusion Policy's own code

_CONFIG = "diffusion_policy/config/train_diffusion_unet_real_hybrid_workspace.yaml"
_HEIGHT, _CROPPED = 240, 216  # px, of that configuration; the width follows from the frames


def _diffusion_policy(options: dict[str, Any]) -> tuple[Step, Any, dict[str, Any]]:
    """The image policy of its authors as they train it on a real robot, on frames of square pixels."""
    sys.path.insert(0, options["code"])
    import hydra
    import torch
    from omegaconf import OmegaConf

    config: Any = OmegaConf.load(Path(options["code"], _CONFIG))
    buffer = _replay_buffer(options["demos"], options["cameras"])
    frames = {name: buffer[name].shape[1:3] for name in options["cameras"]}
    height, width = next(iter(frames.values()))
    crop = [_CROPPED, width * _CROPPED // height]
    obs = {name: {"shape": [3, *shape], "type": "rgb"} for name, shape in frames.items()}
    obs["proprio"] = {"shape": [buffer["proprio"].shape[1]], "type": "low_dim"}
    config.shape_meta = {"obs": obs, "action": {"shape": [buffer["action"].shape[1]]}}
    config.policy.crop_shape, config.policy.n_action_steps = crop, config.n_action_steps
    policy = hydra.utils.instantiate(config.policy)
    policy.set_normalizer(_normaliser(buffer, options["cameras"]))
    average = hydra.utils.instantiate(config.ema, model=deepcopy(policy))
    optimiser = hydra.utils.instantiate(config.optimizer, params=policy.parameters())
    windows = _windows(buffer, options["cameras"], config)
    batches = _batches(torch.utils.data.DataLoader(windows, options["batch_size"], shuffle=True))

    def step() -> float:
        loss = policy.compute_loss(next(batches))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        average.step(policy)
        return loss.item()

    about = {"image_size": crop, "n_obs_steps": config.n_obs_steps, "chunk_size": config.horizon}
    return step, policy, {**about, "usual_epochs": config.training.num_epochs}


def _replay_buffer(demos: str, cameras: list[str]) -> Any:
    """The demos in memory, their frames made smaller once, as its authors do on converting a recording."""
    import torch
    from diffusion_policy.common.replay_buffer import ReplayBuffer  # type: ignore[import-not-found]

    buffer = ReplayBuffer.copy_from_path(demos, keys=[*cameras, "proprio", "action"])
    for name in cameras:
        frames = torch.from_numpy(buffer[name]).permute(0, 3, 1, 2)
        size = (_HEIGHT, round(_HEIGHT * frames.shape[3] / frames.shape[2]))
        small = [
            torch.nn.functional.interpolate(part.float(), size, mode="bilinear", antialias=True)
            for part in frames.split(32)
        ]
        buffer.root["data"][name] = torch.cat(small).round().byte().permute(0, 2, 3, 1).numpy()
    return buffer


def _normaliser(buffer: Any, cameras: list[str]) -> Any:
    from diffusion_policy.common.normalize_util import (  # type: ignore[import-not-found]
        get_image_range_normalizer,
    )
    from diffusion_policy.model.common import normalizer  # type: ignore[import-not-found]

    made = normalizer.LinearNormalizer()
    for name in ("proprio", "action"):
        made[name] = normalizer.SingleFieldLinearNormalizer.create_fit(buffer[name])
    for name in cameras:
        made[name] = get_image_range_normalizer()
    return made


def _windows(buffer: Any, cameras: list[str], config: Any) -> Any:
    """Windows as its data sets give them: observations of the first steps, actions of all."""
    import torch
    from diffusion_policy.common.sampler import SequenceSampler  # type: ignore[import-not-found]

    observed, pads = config.n_obs_steps, (config.n_obs_steps - 1, config.n_action_steps - 1)
    first = dict.fromkeys([*cameras, "proprio"], observed)
    sampler = SequenceSampler(buffer, config.horizon, *pads, key_first_k=first)

    class Windows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(sampler)

        def __getitem__(self, index: int) -> dict[str, Any]:
            data = sampler.sample_sequence(index)
            frames = {name: torch.from_numpy(data[name][:observed]) for name in cameras}
            obs = {name: array.permute(0, 3, 1, 2) / 255.0 for name, array in frames.items()}
            obs["proprio"] = torch.from_numpy(data["proprio"][:observed])
            return {"obs": obs, "action": torch.from_numpy(data["action"])}

    return Windows()


def _batches(loader: Any) -> Any:
    """Epoch after epoch."""
    return chain.from_iterable(repeat(loader))


def main(given: str) -> None:
    reply = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import torch

    options = json.loads(given)
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    make = _diffusion_policy if "code" in options else _lerobot
    step, policy, about = make(options)
    found = measured(step, policy, options["steps"], options["seconds"])
    reply.write(json.dumps({**found, **about, "torch": torch.__version__}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
