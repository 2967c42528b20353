"""The store that a recording goes into: what it says of its demos, and whether it may be continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s2robot.config import instantiate
from s2robot.core.errors import UserError
from s2robot.data.jpeg import ATTRIBUTE
from s2robot.data.store import DemoStore
from s2robot.record.options import RecordOptions
from s2robot.tasks import load_task


def store_attributes(options: RecordOptions, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a store: the options that made its demos, and how its frames are kept."""
    if options.images == "lossless":
        return {"record": identity}
    return {"record": identity, ATTRIBUTE: {"name": options.images, "quality": options.quality}}


def check_attributes(store: DemoStore, attributes: Mapping[str, Any]) -> None:
    """Raises UserError where a store was begun with other options than these, or keeps frames otherwise."""
    record = store.attributes.get("record")
    if record != attributes["record"]:
        raise UserError(
            f"{store.path} holds demos recorded with other options ({record}): "
            "give the same ones, or another out="
        )
    has, wanted = (a.get(ATTRIBUTE) or "lossless" for a in (store.attributes, attributes))
    if has != wanted:
        raise UserError(
            f"{store.path} keeps its frames as {has}, not as {wanted}: "
            "give the same images= and quality=, or another out="
        )


def described(options: RecordOptions) -> dict[str, str]:
    """What a demo says of its making: instruction (default that of the task), operator and notes."""
    instruction = options.instruction
    if instruction is None:
        instruction = load_task(options.env, instantiate).instruction
    return {"instruction": instruction, "operator": options.operator, "notes": options.notes}
