"""`python docs/results/when_s2_pays/selective.py DEMOS`: selective.json, errors (cm) of each demo.

One scale of the whole frame of `20mm_far`, of parts of it, and of both side by side in the channels: a second
scale that looks at a part alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from s2robot.advise.probe import cross_validate, draw_frames, extract
from s2robot.data.store import DemoStore
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.fit import crop_frames

PARTS = {
    "half": (0.25, 0.45, 0.75, 0.95),
    "table": (0.27, 0.55, 0.73, 0.78),
    "quarter": (0.375, 0.54, 0.625, 0.79),
}
ARMS = (
    "half",
    "table",
    "quarter",
    "whole",
    "whole+half",
    "whole+table",
    "whole+quarter",
    "whole+half+quarter",
)


def main(demos: str) -> None:
    probe_set = draw_frames(DemoStore.open(demos), "front", 4, 0)
    extractor = FeatureExtractor("mvp-tiny-sim", [224])
    features = {"whole": extract(extractor, probe_set.frames)}
    for part, box in PARTS.items():
        features[part] = extract(extractor, np.ascontiguousarray(crop_frames(probe_set.frames, box)))
    errors = {}
    for arm in ARMS:
        tokens = torch.cat([features[part] for part in arm.split("+")], -1)
        shape = (*extractor.map_shape()[:2], tokens.shape[-1])
        found = cross_validate(tokens, shape, probe_set, "spatial_convolution", 3, 250, 0, title=arm)
        errors[arm] = probe_set.by_episode(found).round(3).tolist()
    out = {"encoder": "mvp-tiny-sim", "sizes": [224], "parts": PARTS, "episodes_cm": errors}
    (Path(__file__).parent / "selective.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
