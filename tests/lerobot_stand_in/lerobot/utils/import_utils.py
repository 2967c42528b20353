"""Finds plug-ins as lerobot does: by the names of distributions."""

import importlib
import importlib.metadata


def register_third_party_plugins() -> None:
    for found in importlib.metadata.distributions():
        if (found.metadata.get("Name") or "").startswith("lerobot_robot_"):
            importlib.import_module(found.metadata["Name"])
