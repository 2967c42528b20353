"""JPEG as a codec of Zarr v3: for cameras whose noise keeps lossless frames large.

The frames of a chunk are one picture, stacked, colours at full resolution. zarr finds the codec by its entry
point `s2robot.jpeg`, so plain `zarr.open` reads a store wherever s2robot is installed.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image, JpegImagePlugin
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.registry import register_codec

from s2robot.core.errors import UserError, unknown
from s2robot.data.frame_error import FrameError

ATTRIBUTE = "image_codec"
"""Of a store's root: `{"name": "jpeg", "quality": 95}`; without it frames are stored without loss."""

NAME = "s2robot.jpeg"
MAX_SIDE = 65_500  # px: what JPEG can hold


def image_codec(attributes: Mapping[str, Any]) -> Jpeg | None:
    """The lossy codec that a store's attributes ask for, if any. Raises UserError for one that is unknown."""
    plain = attributes.get(ATTRIBUTE)
    if plain is None:
        return None
    if not isinstance(plain, Mapping) or plain.get("name") != "jpeg":
        raise unknown("image codec", plain, [{"name": "jpeg", "quality": 95}])
    return Jpeg(plain.get("quality", 95))


@dataclass(frozen=True)
class Jpeg(ArrayBytesCodec):
    """uint8 (T, H, W, 3) to a JPEG of T * H rows and back, much as it was.

    Attributes:
        quality: 1 to 100, as libjpeg counts.
    """

    quality: int = 95
    is_fixed_size = False

    def __post_init__(self) -> None:
        if (
            isinstance(self.quality, bool)
            or not isinstance(self.quality, int)
            or not 1 <= self.quality <= 100
        ):
            raise UserError(f"quality {self.quality!r} of jpeg: expected a whole number from 1 to 100")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": {"quality": self.quality}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raises UserError for arrays that are no frames, or too tall a stack of them."""
        steps, height, width, *_ = (*getattr(chunk_grid, "chunk_shape", shape), 0, 0, 0)
        if len(shape) != 4 or shape[3] != 3 or dtype.to_native_dtype() != np.uint8:
            raise UserError(f"jpeg holds uint8 (T, H, W, 3), not {dtype.to_native_dtype()} {shape}")
        if max(steps * height, width) > MAX_SIDE:
            raise UserError(
                f"{steps} frames of {height} x {width} px: a JPEG is at most {MAX_SIDE} px a side"
            )

    def to_bytes(self, frames: np.ndarray) -> bytes:
        """One chunk, uint8 (T, H, W, 3), as the content of a JPEG file."""
        stream = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:]))
        picture.save(stream, "JPEG", quality=self.quality, subsampling=0)
        return stream.getvalue()

    def to_frames(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """The inverse, for frames of this shape."""
        # Not Image.open: no other format is asked whether it can read this, and tall stacks are meant.
        return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(data))).reshape(shape)

    def error(self, frames: np.ndarray) -> FrameError:
        """What it does to frames, uint8 (T, H, W, 3)."""
        return FrameError.between(frames, self.to_frames(self.to_bytes(frames), frames.shape))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = await asyncio.to_thread(self.to_bytes, chunk_data.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        frames = await asyncio.to_thread(self.to_frames, chunk_data.to_bytes(), chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frames)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError  # zarr's word for: not known before


register_codec(NAME, Jpeg)  # also where the package was installed before this entry point was there
