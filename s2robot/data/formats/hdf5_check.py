"""Whether HDF5's library survives a file: it crashes, or never comes back, on some that are damaged.

Neither can be caught, nor interrupted, in the process that reads: one of its own reads first.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError


def check_hdf5(path: Path, limit: int = 30) -> None:
    """Reads every object of a file in part. What HDF5's library reports is left to the reader.

    Args:
        limit: s for one object.

    Raises UserError where the library crashes or does not come back.
    """
    command = [sys.executable, "-m", __name__, str(path.resolve()), str(limit)]
    code = subprocess.run(command, stderr=subprocess.DEVNULL).returncode
    if code < 0:
        crashes = f"crashes on it ({signal.Signals(-code).name})"
        how = f"does not come back from it in {limit} s" if code == -signal.SIGALRM else crashes
        raise UserError(f"cannot read {path}: it is damaged, HDF5's library {how}")


def _read(item: Any, limit: int) -> None:
    """Attributes; of a dataset its shape, the index of its chunks and the first entry too."""
    signal.alarm(limit)  # ends this process, inside the library too
    for key in item.attrs:
        with suppress(Exception):
            item.attrs[key]
    if hasattr(item, "shape"):
        with suppress(Exception):
            item.id.get_num_chunks()
        with suppress(Exception):
            item[:1]


def _main(path: str, limit: int) -> None:
    import h5py  # type: ignore[import-not-found]

    signal.alarm(limit)
    with h5py.File(path, "r") as file:
        _read(file, limit)
        file.visititems(lambda _, item: _read(item, limit))


if __name__ == "__main__":
    with suppress(Exception):
        _main(sys.argv[1], int(sys.argv[2]))
