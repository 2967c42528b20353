"""lerobot reads a whole dataset. Run in its environment, offline: `python -I lerobot_reads.py FOLDER NPZ`.

NPZ gets feature -> array over all steps, frames as uint8 (H, W, 3), and `task`.
"""

import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def video_backend():
    """None for lerobot's own choice, which lerobot 0.3 makes without a look at whether it loads."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return "pyav"
    return None


def main(folder, npz):
    dataset, read = LeRobotDataset("s2robot/local", root=folder, video_backend=video_backend()), {}
    for item in (dataset[i] for i in range(len(dataset))):
        for name, value in item.items():
            if ".images." in name:
                value = (value.permute(1, 2, 0) * 255).round().byte()
            read.setdefault(name, []).append(value if isinstance(value, str) else value.numpy())
    np.savez(npz, **{name: np.stack(values) for name, values in read.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
