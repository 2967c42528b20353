"""lerobot reads a dataset and trains two steps of ACT on it. Run in lerobot's environment, offline.

`python -I lerobot_trains.py FOLDER STEP...` prints JSON: of each step its task and the sha256 of its state,
action and frames as LeRobotDataset gives them, and the losses.
"""

import hashlib
import json
import sys

import numpy as np
import torch
from lerobot.configs import FeatureType
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.utils.feature_utils import dataset_to_policy_features

CHUNK = 4


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def told(item):
    """What the dataset says of one step."""
    frames = {name: value for name, value in item.items() if name.startswith("observation.images.")}
    pictures = {name: (f.permute(1, 2, 0) * 255).round().byte().numpy() for name, f in frames.items()}
    return {
        "state": sha256(item["observation.state"].numpy()),
        "action": sha256(item["action"].numpy()),
        "task": item["task"],
        "frames": {name: sha256(picture) for name, picture in pictures.items()},
    }


def losses(folder):
    """Of two steps on the first frames."""
    dataset = LeRobotDataset("s2robot/local", root=folder)
    features = dataset_to_policy_features(dataset.meta.features)
    outputs = {name: f for name, f in features.items() if f.type is FeatureType.ACTION}
    inputs = {name: f for name, f in features.items() if name not in outputs}
    small = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1, "use_vae": False}
    config = ACTConfig(
        input_features=inputs,
        output_features=outputs,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        pretrained_backbone_weights=None,
        device="cpu",
        **small,
    )
    torch.manual_seed(0)
    policy = ACTPolicy(config)
    policy.train()
    before, _ = make_pre_post_processors(config, dataset_stats=dataset.meta.stats)
    deltas = {"action": [i / dataset.fps for i in range(CHUNK)]}
    windows = LeRobotDataset("s2robot/local", root=folder, delta_timestamps=deltas)
    batch = torch.utils.data.default_collate([windows[i] for i in range(2)])
    optimiser = torch.optim.Adam(policy.parameters(), 1e-3)
    found = []
    for _ in range(2):
        loss, _ = policy.forward(before(dict(batch)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return {"losses": found, "outputs": {name: list(f.shape) for name, f in outputs.items()}}


def main(folder, *steps):
    dataset = LeRobotDataset("s2robot/local", root=folder)
    read = {step: told(dataset[int(step)]) for step in steps}
    info = dataset.meta.info
    print(json.dumps({"version": info.codebase_version, "steps": read, **losses(folder)}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
