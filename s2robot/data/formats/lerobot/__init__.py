"""LeRobotDataset: v2.0, v2.1 and v3.0 are read, v2.1 and v3.0 written.

    data/       Parquet: one row a step; v2 one file an episode, v3 many episodes a file
    videos/     MP4, one a camera, likewise
    meta/       JSON and Parquet: features, episodes, tasks, statistics

What we write:

    observation.images.<camera>   PNG in Parquet (lossless) or video (H.264, lossy)
    observation.state, action     float32: proprio and action
    s2robot.action_applied        float32; were its name `action...`, policies would predict it too
    s2robot.time                  float64, s
    meta/s2robot.json             the sidecar
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from s2robot.data.formats.lerobot.files import V21, V30
from s2robot.data.formats.lerobot.reader import read
from s2robot.data.formats.lerobot.writer import write
from s2robot.data.formats.transfer import Incoming, Notes, Outgoing


@dataclass(frozen=True)
class ReadOptions:
    """As `read` takes them."""

    proprio: tuple[str, ...] | None = None
    action: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WriteOptions:
    """As `write` takes them."""

    version: Literal["v2.1", "v3.0"] = "v3.0"
    images: Literal["image", "video"] = "image"
    instruction: str = ""


class LeRobot:
    """LeRobotDataset v2.0, v2.1 (as openpi takes it) and v3.0."""

    def read(self, source: Path, options: ReadOptions) -> Incoming:
        return read(source, proprio=options.proprio, action=options.action)

    def write(self, outgoing: Outgoing, target: Path, options: WriteOptions) -> Notes:
        layout = {"v2.1": V21, "v3.0": V30}[options.version]
        return write(outgoing, target, layout, images=options.images, instruction=options.instruction)
