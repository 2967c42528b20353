"""Files that are damaged, or of another kind than they should be."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from s2robot.core.errors import UserError

# What zarr, its codecs and h5py raise on files that are cut short, altered, gone or of another kind.
_DAMAGE = (
    *(ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError),
    *(OSError, zipfile.BadZipFile),
)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns what damaged files raise into a UserError that names what was read."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = ""
        if "imagecodecs" in reason:
            hint = ': its codec needs the extra, pip install "s2robot[imagecodecs]"'
        raise UserError(f"cannot read {what}: {reason}{hint}") from error
