"""`s2robot demos replay`: the recorded actions once more, in an open loop.

`action_applied` is what the arm took: the recorded action, clipped, with the noise that an expert adds. In a
deterministic simulator it repeats the episode bit for bit. `action` was asked for before noise and clipping:
its replay tests whether the demo succeeds without feedback.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from s2robot.config.options import Natural
from s2robot.config.targets import instantiate_recorded
from s2robot.core.errors import UserError
from s2robot.core.rollout import run_episode
from s2robot.core.spec import Observation, RobotSpec
from s2robot.data.copies import Ids, chosen
from s2robot.data.episode import recorded_start
from s2robot.data.store import DemoStore, EpisodeReader
from s2robot.data.tools.table import table
from s2robot.utils.progress import Progress
from s2robot.utils.workers import run_jobs

_IMAGE_SIZE = 16  # px: the frames are not used


@dataclass(frozen=True)
class Replay:
    """How an episode went the second time.

    Attributes:
        recorded, replayed: success then and now; None where it is not known or was not tried.
        steps: acted until success or the end of the recording.
        deviation: the largest difference of a proprioception entry from the recorded one (m or rad).
        entry: which, and at which step; nothing where the proprioception is the same to the last bit.
        refused: why it could not be replayed, in words.
    """

    id: str
    recorded: bool | None
    replayed: bool | None = None
    steps: int = 0
    deviation: float = 0.0
    entry: str = ""
    refused: str = ""


class Playback:
    """Acts given actions (T, Da), and notes the proprioception at each."""

    def __init__(self, actions: np.ndarray) -> None:
        self._actions = actions

    def reset(self) -> None:
        self._step = 0
        self.proprio: list[np.ndarray] = []

    def act(self, observation: Observation) -> np.ndarray:
        self.proprio.append(observation["proprio"])
        self._step += 1
        return self._actions[self._step - 1]


@dataclass(frozen=True)
class ReplayOptions:
    """Of `s2robot demos replay`."""

    path: str
    ids: Ids
    array: Literal["action_applied", "action"]
    workers: Natural
    json: bool


def main(options: ReplayOptions) -> int:
    """Prints one line an episode and one for all; 1 where a recorded success was not repeated."""
    store = DemoStore.open(options.path)
    ids = chosen(store, options.ids) or store.ids()
    workers, arguments = min(options.workers, len(ids)), (options.path, options.array)
    jobs = run_jobs(_replay_one, ids, workers=workers, start=_start, start_args=arguments)
    replays = sorted(Progress(jobs, desc="replay", unit="demo", total=len(ids)), key=lambda replay: replay.id)
    if options.json:
        about = {"path": str(store), "array": options.array}
        print(json.dumps(about | {"episodes": [asdict(r) for r in replays]}, indent=1))
    else:
        print("\n".join([*_rows(replays), summary(store, options.array, replays)]))
    return 1 if any(r.refused or (r.recorded and not r.replayed) for r in replays) else 0


def replay_episode(env: gymnasium.Env, reader: EpisodeReader, spec: RobotSpec, array: str) -> Replay:
    """Acts one array of an episode from its recorded seed and start, to its end.

    Raises UserError for an episode without a seed.
    """
    attributes = reader.attributes
    if "seed" not in attributes:
        raise UserError("its seed was not recorded")
    player = Playback(getattr(reader, array))
    start = recorded_start(attributes)
    outcome = run_episode(
        TimeLimit(env, reader.length),  # the recording's end, not the environment's
        player,
        seed=attributes["seed"],
        options=None if start is None else start.options,
    )
    deviation = np.abs(np.stack(player.proprio) - reader.proprio[: outcome.steps])
    step, entry = np.unravel_index(np.argmax(deviation), deviation.shape)
    return Replay(
        reader.id,
        attributes.get("success"),
        outcome.success,
        outcome.steps,
        float(deviation.max()),
        f"{spec.proprio[entry]} at step {step}" if deviation.any() else "",
    )


def summary(store: DemoStore, array: str, replays: Sequence[Replay]) -> str:
    """All of them in one line."""
    tried = [r for r in replays if not r.refused]
    succeeded = sum(bool(r.replayed) for r in tried)
    recorded = [r for r in tried if r.recorded]
    again = sum(bool(r.replayed) for r in recorded)
    exact = sum(r.deviation == 0 for r in tried)
    parts = [
        f"{succeeded} of {len(tried)} episodes succeed by their {array} alone",
        f"{again} of {len(recorded)} recorded successes",
        f"{exact} repeat the recorded proprioception to the last bit",
    ]
    if len(tried) < len(replays):
        parts.append(f"{len(replays) - len(tried)} could not be replayed")
    return f"{store}: {', '.join(parts)}"


def _rows(replays: Sequence[Replay]) -> list[str]:
    said = {True: "yes", False: "no", None: "-"}
    header = ["episode", "recorded", "replayed", "steps", "deviation", "largest in"]
    rows = []
    for r in replays:
        where = r.refused or r.entry or "-"
        rows.append([r.id, said[r.recorded], said[r.replayed], str(r.steps), f"{r.deviation:.2g}", where])
    return [table(header, rows)] if rows else []


# ---------------------------------------------------------------------- workers


class _Simulators:
    """The environments that episodes were recorded in, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, gymnasium.Env] = {}

    def of(self, store: DemoStore, reader: EpisodeReader) -> gymnasium.Env:
        """Raises UserError where neither the episode nor the store names one."""
        of_store = store.attributes.get("record") or {}
        config = (reader.attributes.get("config") or of_store).get("env")
        if config is None:
            raise UserError("it was recorded in no simulated environment")
        if not isinstance(config, dict) or "_target_" not in config:
            raise UserError(f"its config.env is {config!r}: expected a section with _target_")
        cheap = {"cameras": list(config.get("cameras", []))[:1], "image_size": _IMAGE_SIZE}
        config = config | {key: value for key, value in cheap.items() if key in config}
        key = json.dumps(config, sort_keys=True)
        if key not in self._made:
            self._made[key] = instantiate_recorded(config)
        return self._made[key]


def _start(path: str, array: str) -> tuple[DemoStore, str, _Simulators]:
    return DemoStore.open(path), array, _Simulators()


def _replay_one(context: tuple[DemoStore, str, _Simulators], episode_id: str) -> Replay:
    store, array, simulators = context
    reader = store.episode(episode_id)
    try:
        return replay_episode(simulators.of(store, reader), reader, store.spec, array)
    except UserError as error:
        return Replay(episode_id, None, refused=str(error))
