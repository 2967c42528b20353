"""From camera frames to the features a policy takes: one path for training, simulation and robots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from s2robot.config.trust import check_trusted
from s2robot.core.errors import UserError
from s2robot.utils.hashing import sha256_json
from s2robot.utils.provenance import has_bf16
from s2robot.vision.encoders.encoder import Encoder, to_float
from s2robot.vision.encoders.engine import Engine, OpenVino, has_engine
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.encoders.precision import compute_name
from s2robot.vision.encoders.registry import load_encoder, make_encoder
from s2robot.vision.fit import DEFAULT_FIT, Box, Fit, box_pixels, check_box, crop_frames, fit_frames
from s2robot.vision.s2 import multiscale_forward
from s2robot.vision.scales import Grid, Options, ResizeTo

_TILES = 10  # a forward: more leave the processor's cache
_SCHEMA = 2  # raise when anything below changes what comes out for the same encoder and sizes


class FeatureExtractor:
    """A frozen encoder at several image sizes; features leave as float16.

    Args:
        encoder: one, or its name; with `checkpoint` as for `load_encoder`.
        sizes: image sizes of S² in px; one of them is a plain single-scale encoder.
        resize_to: the scale to whose grid of patches all are resized (0: the first one; -1: the last one, the
            finest), or rows and columns of patches.
        bf16: compute type, float32 otherwise; default where the device has it.
        fit: how frames that are not square become so.
        camera_fit: of single cameras, by their names, where it is another one.
        crop: of single cameras, the part of their frames that is encoded; the whole frame otherwise.
        device: where it computes. A GPU's process must not render.
        engine: what computes: `torch`; `compile`, by torch.compile at the first call of each batch size, on a
            GPU into CUDA graphs; `openvino`, on a processor.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        sizes: Sequence[int],
        checkpoint: str | None = None,
        bf16: bool | None = None,
        *,
        resize_to: ResizeTo = 0,
        fit: Fit = DEFAULT_FIT,
        camera_fit: Mapping[str, Fit] | None = None,
        crop: Mapping[str, Box] | None = None,
        device: str = "cpu",
        engine: Engine = "torch",
    ) -> None:
        self.sizes = tuple(sizes)
        if not self.sizes:
            raise UserError("no image sizes: expected encoder.sizes of at least one, such as [224]")
        self.fit: Fit = fit
        self.camera_fit: dict[str, Fit] = {
            name: own for name, own in (camera_fit or {}).items() if own != fit
        }
        self.crop = dict(crop or {})
        for box in self.crop.values():
            check_box(box)
        self.encoder = load_encoder(encoder, checkpoint) if isinstance(encoder, str) else encoder
        # As in the paper the first size is the tile; an encoder of larger images runs at that.
        if min(self.sizes) < self.encoder.architecture.image_size:
            self.encoder.set_image_size(min(self.sizes))
        self._tile = self.encoder.architecture.image_size
        self._scales = Options(self.sizes, self._tile, resize_to=resize_to)
        self._resize_to = list(resize_to) if isinstance(resize_to, tuple) else resize_to % len(self.sizes)
        self.device = torch.device(device)
        self.bf16 = computes_in_bf16(device) if bf16 is None else bf16
        self.engine: Engine = engine
        if self.bf16 and engine != "openvino":
            self.encoder.compute_in_bf16(fused=self.device.type != "cpu")
        self.encoder.to(self.device)
        self._model = OpenVino(self.encoder, self.bf16) if engine == "openvino" else self.encoder
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._run = torch.compile(self._forward, mode=mode) if engine == "compile" else self._forward

    @property
    def shape(self) -> tuple[int, int]:
        """(1 + N, C) of a square frame's features: CLS, N patches row by row; scales side by side in C."""
        height, width, channels = self.map_shape()
        return 1 + height * width, channels

    def map_shape(self, frame: tuple[int, int] = (1, 1), camera: str | None = None) -> tuple[int, int, int]:
        """(h, w, C) of the N = h · w patches of a frame of (H, W) px, which count with `fit=tiles` alone."""
        if camera in self.crop:
            rows, columns = box_pixels(self.crop[camera], frame)
            frame = (rows.stop - rows.start, columns.stop - columns.start)
        grid = self.encoder.architecture.grid
        maps = [(g.rows * grid, g.columns * grid) for g in self._grids(frame, self._fit(camera))]
        return *self._scales.map_size(maps), self.encoder.width * len(self.sizes)

    @property
    def scales(self) -> str:
        """Of results: `224+448`, and the grid where it is not the first scale's: `224+448 to 28 x 28`."""
        grid = " x ".join(map(str, self.map_shape()[:2]))
        return "+".join(map(str, self.sizes)) + (f" to {grid}" if self._resize_to else "")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the features of a frame."""
        source = self.encoder.source_sha256
        return {
            "schema": _SCHEMA,
            "weights_sha256": self.encoder.weights_sha256,
            **({"source_sha256": source} if source else {}),
            "sizes": list(self.sizes),
            "tile": self._tile,
            **({"resize_to": self._resize_to} if self._resize_to else {}),
            "fit": self.fit,
            **({"camera_fit": dict(sorted(self.camera_fit.items()))} if self.camera_fit else {}),
            **({"crop": {name: list(box) for name, box in sorted(self.crop.items())}} if self.crop else {}),
            "compute": compute_name(self.bf16, self.engine),
        }

    @property
    def key(self) -> str:
        """16 hex digits of `identity`: names a feature cache."""
        return sha256_json(self.identity)[:16]

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, camera: str | None = None) -> np.ndarray:
        """uint8 (B, H, W, 3), H and W of any ratio, of a camera -> float16 (B, 1 + N, C)."""
        fit = self._fit(camera)
        if camera in self.crop:
            frames = crop_frames(frames, self.crop[camera])
        images = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        parts = images.split(self._frames_at_once(images, fit))
        return torch.cat([self._run(part, fit).to(torch.float16).cpu() for part in parts]).numpy()

    def of_cameras(self, images: Mapping[str, np.ndarray], cameras: Sequence[str]) -> dict[str, np.ndarray]:
        """Features float16 (1 + N, C) of each of these cameras' frames, uint8 (H, W, 3).

        Cameras may differ in size, shape, fit and crop; those that do not are encoded together.
        """
        kinds = {name: (np.shape(images[name]), self._fit(name), self.crop.get(name)) for name in cameras}
        features: dict[str, np.ndarray] = {}
        for kind in dict.fromkeys(kinds.values()):
            alike = [name for name in cameras if kinds[name] == kind]
            frames = np.stack([images[name] for name in alike])
            features |= zip(alike, self(frames, alike[0]), strict=True)
        return {name: features[name] for name in cameras}

    def _fit(self, camera: str | None) -> Fit:
        return self.fit if camera is None else self.camera_fit.get(camera, self.fit)

    def _grids(self, frame: tuple[int, int], fit: Fit) -> list[Grid]:
        """The tiles of each scale, of a frame of (H, W) px."""
        return self._scales.grids(*(frame if fit == "tiles" else (1, 1)))

    def _frames_at_once(self, frames: torch.Tensor, fit: Fit) -> int:
        """On a processor so many that none of what is computed on the way leaves its cache."""
        if self.device.type != "cpu":
            return len(frames)
        grids = self._grids((frames.shape[1], frames.shape[2]), fit)
        return max(1, _TILES // sum(grid.rows * grid.columns for grid in grids))

    def _forward(self, frames: torch.Tensor, fit: Fit) -> torch.Tensor:
        return multiscale_forward(
            self._model,
            fit_frames(to_float(frames), fit, max(self.sizes)),
            self.sizes,
            tile=self._tile,
            resize_to=self._scales.resize_to,
            prefix_tokens=self.encoder.prefix_tokens,
            max_tiles=_TILES if self.device.type == "cpu" else None,
        )


def make_extractor(encoder: EncoderOptions, bf16: bool | None) -> FeatureExtractor:
    """The extractor of the options in `configs/encoder/` that the user chose. Raises as `make_encoder`."""
    return FeatureExtractor(
        make_encoder(encoder),
        encoder.sizes,
        bf16=bf16,
        resize_to=encoder.resize_to,
        fit=encoder.fit,
        camera_fit=encoder.camera_fit,
        crop=encoder.crop,
        engine=encoder.engine,
    )


def make_recorded_extractor(encoder: Mapping[str, Any], bf16: bool | None) -> FeatureExtractor:
    """The extractor of a section that a checkpoint recorded (`to_plain` of EncoderOptions).

    An engine that is not installed here is replaced by torch, in a printed line. Raises UserError as
    `make_extractor`, and for a `_target_` that the user does not trust.
    """
    check_trusted(encoder)
    options = EncoderOptions.of(encoder)
    if not has_engine(options.engine):
        print(f"engine={options.engine} is not installed here: torch computes the features")
        options = replace(options, engine="torch")
    return make_extractor(options, bf16)


def computes_in_bf16(device: str) -> bool:
    """Whether `device` computes in bf16, and more quickly than in float32."""
    return torch.cuda.is_bf16_supported() if torch.device(device).type == "cuda" else has_bf16()
