"""lerobot writes a small dataset. Run in its environment: `python -I lerobot_writes.py OUT DTYPE NPZ`.

DTYPE is that of the frames, image or video. NPZ gets what was written: `<episode> <feature>` -> array.
"""

import inspect
import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

SIZE = (64, 96)


def main(out, dtype, npz):
    shape = (*SIZE, 3)
    features = {
        "observation.images.top": {"dtype": dtype, "shape": shape, "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (6,), "names": [f"j{i}.pos" for i in range(6)]},
        "action": {"dtype": "float32", "shape": (6,), "names": {"motors": [f"j{i}.pos" for i in range(6)]}},
    }
    dataset = LeRobotDataset.create("s2robot/local", 30, features, root=out)
    takes_task = "task" in inspect.signature(dataset.add_frame).parameters
    rng, written = np.random.default_rng(0), {}
    for episode, steps in enumerate((7, 12, 5)):
        for _ in range(steps):
            fields = rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)
            frame = {
                "observation.images.top": np.kron(fields, np.ones((32, 32, 1), np.uint8)),
                "observation.state": rng.standard_normal(6, dtype=np.float32),
                "action": rng.standard_normal(6, dtype=np.float32),
            }
            for name, value in frame.items():
                written.setdefault(f"{episode} {name}", []).append(value)
            task = f"task {episode % 2}"
            dataset.add_frame(frame, task=task) if takes_task else dataset.add_frame({**frame, "task": task})
        dataset.save_episode()
    if hasattr(dataset, "finalize"):
        dataset.finalize()
    np.savez(npz, **{name: np.stack(values) for name, values in written.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
