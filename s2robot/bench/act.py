"""How fast lerobot trains its own ACT on the same demos, in its own environment."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from s2robot.bench.options import BenchOptions
from s2robot.data.formats.lerobot.files import V30
from s2robot.data.formats.lerobot.writer import write
from s2robot.data.formats.transfer import Outgoing
from s2robot.data.store import DemoStore
from s2robot.integrations.lerobot.process import Bridge

_DEMOS = 10  # that are exported: the rate does not depend on their number


def train_act(store: DemoStore, options: BenchOptions, batch_size: int, threads: int) -> dict[str, Any]:
    """Exports the first demos as images and trains ACT on them.

    Args:
        batch_size: windows a step.
        threads: of torch.

    Returns:
        steps_per_second, steps, the number of parameters and the losses. The first step is not counted.

    Raises:
        UserError: there is no environment with lerobot, or it fails.
    """
    outgoing = Outgoing(store, store.spec, store.ids()[:_DEMOS])
    find_python, steps = options.lerobot.find_python, options.train.act_steps
    with TemporaryDirectory(prefix="s2robot-bench-", dir=options.scratch) as scratch:
        folder = Path(scratch, "demos")
        write(outgoing, folder, V30, images="image", instruction="")
        with Bridge(find_python(), "train", folder) as bridge:
            measured, _ = bridge.ask({"batch_size": batch_size, "threads": threads, "steps": steps})
    seconds = measured.pop("seconds")
    return {"steps_per_second": steps / seconds, "steps": steps, **measured}
