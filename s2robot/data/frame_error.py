"""How far frames are from what they were before something lossy was done to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class FrameError:
    """Of a number of frames, over all pixels and channels.

    Attributes:
        frames: how many were compared.
        mean, largest: absolute difference, of 255.
        psnr_db: peak signal-to-noise ratio (dB), None where nothing differs.
    """

    frames: int
    mean: float
    largest: int
    psnr_db: float | None

    @classmethod
    def between(cls, original: np.ndarray, stored: np.ndarray) -> FrameError:
        """Compares uint8 (T, H, W, 3) with as many of the same size."""
        difference = np.abs(original.astype(np.int16) - stored)
        power = float(np.square(difference, dtype=np.float64).mean())
        psnr = 10 * float(np.log10(255**2 / power)) if power else None
        return cls(len(original), float(difference.mean()), int(difference.max()), psnr)

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain numbers, fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        if self.psnr_db is None:
            return f"{self.frames} frames compared: equal"
        return (
            f"{self.frames} frames compared: mean error {self.mean:.2f} of 255, largest {self.largest}, "
            f"PSNR {self.psnr_db:.1f} dB"
        )
