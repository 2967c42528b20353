"""The encoders that MVP published: names, addresses and checksums, and the user's cache of their files.

A file is PyTorch's checkpoint: under `model` the encoder's weights and those of the decoder. Addresses are
those of MVP's mvp/backbones/model_zoo.py (github.com/ir413/mvp), whose README, over its history, prints the
first six digits of each of the sums; the full ones were published by others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s2robot.core.errors import UserError
from s2robot.data.durable import disk_errors
from s2robot.utils.paths import user_cache
from s2robot.vision.encoders.download import download, md5_file

SOURCE = "https://berkeley.box.com/shared/static/"


@dataclass(frozen=True)
class Published:
    """A published encoder: its architecture, its file's name at `SOURCE`, and the md5 sum of that file."""

    architecture: str
    file: str
    md5: str

    @property
    def address(self) -> str:
        return SOURCE + self.file


PUBLISHED = {
    "mvp-small-hoi": Published(
        "small", "m93ynem558jo8vltlads5rcmnahgsyzr.pth", "fe6e30eb4256fae298ea0a6c6b4c1ae7"
    ),
    "mvp-small-imagenet": Published(
        "small", "qlsjkv03nngu37eyvtjikfe7rz14k66d.pth", "29a004bd4332f97cd22f55c1da26bc15"
    ),
    "mvp-base-egosoup": Published(
        "base", "0ckepd2ja3pi570z89ogd899cn387yut.pth", "526093597ac1dc55df618bcbdfe8da4a"
    ),
    "mvp-large-egosoup": Published(
        "large", "6p0pc47mlpp4hhwlin2hf035lxlgddxr.pth", "5352b0b6c04f044f67eba41b667fcde6"
    ),
}
"""MVP's vits-mae-hoi, vits-mae-in, vitb-mae-egosoup and vitl-256-mae-egosoup."""


def cached_file(name: str) -> Path:
    """Where the file of a published encoder lies, or would."""
    return user_cache() / "encoders" / f"{name}.pth"


def fetch(name: str) -> Path:
    """The file of a published encoder: from the cache, else downloaded into it once; its checksum holds.

    Raises:
        UserError: it cannot be fetched, or is another file than the published one.
    """
    published, path = PUBLISHED[name], cached_file(name)
    if not path.is_file():
        try:
            download(published.address, path, published.md5, name)
        except UserError as error:
            raise UserError(f"{name}: {error}, or give checkpoint=PATH") from error
        return path
    with disk_errors(f"read {path}"):
        found = md5_file(path)
    if found != published.md5:
        raise UserError(
            f"{name}: {path} has md5 {found}, the published file {published.md5}: "
            f"delete it to fetch it anew, or give it as checkpoint=PATH"
        )
    return path


def is_left_out(key: str) -> bool:
    """Whether a tensor of a published file is none of the encoder's: MAE's decoder, a classifier's head."""
    return key.startswith(("decoder", "head.")) or key == "mask_token"
