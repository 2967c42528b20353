"""What computes a frozen encoder's features: torch as it is, torch.compile, or OpenVINO."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from s2robot.core.errors import UserError
from s2robot.vision.encoders.encoder import Encoder

Engine = Literal["torch", "compile", "openvino"]


def has_engine(engine: Engine) -> bool:
    """Whether what it needs is installed."""
    return engine != "openvino" or importlib.util.find_spec("openvino") is not None


class OpenVino:
    """An encoder through OpenVINO, on the processor: float (B, 3, S, S) -> float32 tokens (B, 1 + N, C).

    It is converted at the first batch of each size, for torch's number of threads. Weights stay float32; with
    `bf16` OpenVINO multiplies in bf16 where the processor can.

    Raises UserError where the package is not installed.
    """

    def __init__(self, encoder: Encoder, bf16: bool) -> None:
        if not has_engine("openvino"):
            raise UserError("engine=openvino needs the package openvino: `pip install 's2robot[openvino]'`")
        self._encoder, self._bf16 = encoder, bf16
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: Tensor) -> Tensor:
        shape = tuple(images.shape)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(images)
        return torch.from_numpy(np.array(self._compiled[shape](images.contiguous().numpy())[0]))

    def _compile(self, images: Tensor) -> Any:
        openvino: Any = importlib.import_module("openvino")
        with torch.inference_mode(False), torch.no_grad():
            program = torch.export.export(self._encoder, (torch.zeros(images.shape),))
            model = openvino.convert_model(program)
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if self._bf16 else "f32",
        }
        return openvino.Core().compile_model(model, "CPU", hints)
