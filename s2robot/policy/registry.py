"""Trunks and action heads by name: a new one is one file and one line here.

A trunk is a subclass of `s2robot.policy.model.PolicyModel`:

    @dataclass(frozen=True)
    class GruOptions:                    # bounds in the annotations, see s2robot.config.options
        layers: Count = 1

    class Gru(PolicyModel):
        Options = GruOptions

        def build(self):                 # makes its parts, by self.config and self.options
            ...

        def steps(self, visual, state, previous_action, prev_action_mask, timestep_pad_mask):
            ...                          # (B, To, width): one vector for each step, see PolicyModel.steps

and its line is `"gru": "package.module:Gru"` in TRUNKS. Then `s2robot train policy.trunk=gru` trains it;
`+policy.gru.layers=2`, or a section `gru:` in a file of `configs/policy/`, sets its options. It has the
name of the trunk or head whose options it holds; sections of others are left out.

A head is an `nn.Module` made of (config: PolicyConfig, options), with `Options` and two methods, see
`s2robot.policy.heads.regression`; its line is in HEADS, `policy.head=NAME` chooses it.

Checkpoints store these names, never a class: what is not registered here is not run.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from s2robot.config.options import read_options
from s2robot.core.errors import unknown

TRUNKS = {
    "transformer": "s2robot.policy.trunks.transformer:Transformer",
    "mlp": "s2robot.policy.trunks.mlp:Mlp",
    "linear": "s2robot.policy.trunks.linear:Linear",
}
HEADS = {
    "l1": "s2robot.policy.heads.regression:L1Head",
    "mse": "s2robot.policy.heads.regression:MseHead",
    "flow": "s2robot.policy.heads.flow:FlowHead",
}


def load_part(kind: str, name: str) -> Any:
    """The class of a `trunk` or `head`. Raises UserError for a name that is not registered."""
    registry = {"trunk": TRUNKS, "head": HEADS}[kind]
    if name not in registry:
        raise unknown(kind, name, registry)
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def part_options(kind: str, name: str, given: Mapping[str, Any]) -> Any:
    """The `Options` of a `trunk` or `head`; what is not given has its default.

    Raises UserError for an unknown name or option, and for a value that does not fit.
    """
    options = load_part(kind, name).Options
    names = [field.name for field in fields(options)]
    for option in given:
        if option not in names:
            raise unknown(f"option of {kind} {name}", option, names)
    return read_options(options, given)
