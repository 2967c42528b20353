"""A plug-in of lerobot's: five servos and a gripper that are at once where they are told to be."""

import os
import time
from dataclasses import dataclass

from lerobot.robots import Robot, RobotConfig  # type: ignore[import-not-found]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@RobotConfig.register_subclass("dummy")
@dataclass(kw_only=True)
class DummyConfig(RobotConfig):
    """`log`: a file to which every target is written. `fault`: what goes wrong when elbow_flex passes 80."""

    log: str
    fault: str = ""
    calibrated: bool = True


class Dummy(Robot):
    """Its place is that of its last target."""

    config_class = DummyConfig
    name = "dummy"

    def __init__(self, config: DummyConfig) -> None:
        super().__init__(config)
        self.config, self.at, self._connected = config, dict.fromkeys(JOINTS, 0.0), False

    @property
    def observation_features(self) -> dict:
        return {f"{name}.pos": float for name in JOINTS} | {"front": (4, 4, 3)}

    @property
    def action_features(self) -> dict:
        return {f"{name}.pos": float for name in JOINTS}

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return self.config.calibrated

    def connect(self, calibrate: bool = True) -> None:
        print("a robot that talks to its terminal")
        self._connected = True
        self._say("connected")

    def calibrate(self) -> None:
        raise AssertionError("nobody asked for it")

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict:
        return {f"{name}.pos": value for name, value in self.at.items()} | {"front": None}

    def send_action(self, action: dict) -> dict:
        if action["elbow_flex.pos"] > 80:
            if self.config.fault == "silent":
                time.sleep(60)
            if self.config.fault == "gone":
                os._exit(3)
            if self.config.fault:
                raise ConnectionError(self.config.fault)
        self.at = {name: action[f"{name}.pos"] for name in JOINTS}
        self._say(" ".join(f"{value:.3f}" for value in self.at.values()))
        return action

    def disconnect(self) -> None:
        self._connected = False
        self._say("disconnected")

    def _say(self, line: str) -> None:
        with open(self.config.log, "a") as file:
            file.write(line + "\n")
