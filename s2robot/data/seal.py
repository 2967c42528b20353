"""A digest among the attributes of an episode or a store, by which an edit of its `zarr.json` is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from s2robot.utils.hashing import sha256_json

DIGEST = "attributes_sha256"


def sealed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes and their digest, as they are written."""
    plain = {name: value for name, value in attributes.items() if name != DIGEST}
    return {**plain, DIGEST: _digest(plain)}


def unsealed(written: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes alone. Raises ValueError where they are not those of the digest, if there is one."""
    plain = dict(written)
    digest = plain.pop(DIGEST, None)
    if digest is not None and digest != _digest(plain):
        raise ValueError("its attributes were edited after they were written")
    return plain


def _digest(attributes: Mapping[str, Any]) -> str:
    return sha256_json(json.loads(json.dumps(attributes)))  # as they are read back
