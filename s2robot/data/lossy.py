"""What a lossy codec has made of a store's frames, in words for a summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2robot.data.jpeg import image_codec
from s2robot.data.store import DemoStore


def lossy_frames(store: DemoStore) -> str:
    """Size and error of the frames of a local store, as a line; empty where they are stored without loss."""
    codec = image_codec(store.attributes)
    if codec is None or not len(store):
        return ""
    episodes = [store.episode(episode_id) for episode_id in store.ids()]
    errors = [error for e in episodes for error in e.attributes.get("image_error", {}).values()]
    frames = sum(e.length for e in episodes) * len(store.spec.cameras)
    files = [f for e in episodes for f in Path(store.path, e.id, "images").rglob("*") if f.is_file()]
    size = sum(file.stat().st_size for file in files) / frames
    return (
        f"frames: jpeg, quality {codec.quality}, {size / 1000:.1f} kB each; mean error "
        f"{np.mean([e['mean'] for e in errors]):.2f} of 255, largest {max(e['largest'] for e in errors)}"
    )
