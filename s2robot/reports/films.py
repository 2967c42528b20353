"""Films on a page: what each one shows, before it is played too."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from s2robot.utils.video import read_mp4

_POSTER_QUALITY = 75  # of JPEG


@dataclass(frozen=True)
class Film:
    """An H.264 file (see `video.encode_mp4`) and its caption.

    Attributes:
        success: of what it shows; None where it is not known.
    """

    caption: str
    mp4: bytes
    success: bool | None = None

    @property
    def url(self) -> str:
        """The file itself as a `data:` URL."""
        return "data:video/mp4;base64," + base64.b64encode(self.mp4).decode()

    @property
    def poster(self) -> str:
        """The last frame, how it ended, as a `data:` URL: the first ones are all alike."""
        file = io.BytesIO()
        Image.fromarray(read_mp4(self.mp4)[-1]).save(file, "JPEG", quality=_POSTER_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
