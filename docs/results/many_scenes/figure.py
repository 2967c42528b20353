"""`python docs/results/many_scenes/figure.py`: figure.svg from the evaluations beside it."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from s2robot.statistics.rates import wilson

HERE = Path(__file__).parent
CHANGES = {"same": "none", "light": "light", "texture": "textures", "camera": "cameras", "all": "all at once"}
ARMS = {
    "dino": "one scene, front camera",
    "offset": "1300 scenes, both cameras, offset",
}


def rate(arm: str, change: str) -> tuple[int, int] | None:
    """Successes and trials from random starts; None where it was not run."""
    file = HERE / f"{arm}_{change}.json"
    if not file.exists():
        return None
    random = json.loads(file.read_text())["random_starts"]
    return random["successes"], random["trials"]


def main() -> None:
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for i, (arm, label) in enumerate(ARMS.items()):
        for j, change in enumerate(CHANGES):
            if (found := rate(arm, change)) is None:
                continue
            share, (low, high) = found[0] / found[1], wilson(*found)
            at, error = j + 0.32 * (i - 0.5), np.array([[share - low], [high - share]])
            axes.bar(at, share, 0.3, color=f"C{i}", label=label if j == 0 else None)
            axes.errorbar(at, share, error, color="black", linewidth=1)
    axes.set_xticks(range(len(CHANGES)), list(CHANGES.values()))
    axes.set(ylim=(0, 1.02), ylabel="cubes picked up", xlabel="changed against the demos")
    figure.legend(frameon=False, fontsize="small", loc="outside upper center", ncols=len(ARMS))
    figure.savefig(HERE / "figure.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
