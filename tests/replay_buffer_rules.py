"""What Diffusion Policy's ReplayBuffer asks of a file, in plain zarr 2. Run with its pinned versions.

Prints what it has read as JSON: the version of zarr, the ends, and each array's fingerprint.
"""

import hashlib
import json
import sys


def fingerprint(array):
    """The type, shape and content of an array."""
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


def check(root):
    """The rules by which it takes a file for a buffer."""
    assert "data" in root and "meta" in root and "episode_ends" in root["meta"]
    ends = root["meta"]["episode_ends"][:]
    for _, array in root["data"].items():
        assert array.shape[0] == ends[-1]
        assert len(array.chunks) == len(array.shape) and all(size > 0 for size in array.chunks)
    return ends


def main(path):
    import zarr

    source = zarr.ZipStore(path, mode="r") if path.endswith(".zip") else zarr.open(path, "r").store
    ends = check(zarr.group(source))
    # Into memory as it is, as UMI loads a dataset ...
    memory = zarr.MemoryStore()
    for part in ("/meta", "/data"):
        zarr.copy_store(source=source, dest=memory, source_path=part, dest_path=part)
    check(zarr.group(memory))
    # ... and compressed anew, as the image datasets cache it.
    again = zarr.group()
    for key, array in zarr.group(source)["data"].items():
        chunks = (min(7, len(array)), *array.chunks[1:])
        zarr.copy(array, again, name=key, chunks=chunks, compressor=zarr.Blosc("lz4"))
    arrays = {key: fingerprint(array[:]) for key, array in zarr.group(memory)["data"].items()}
    assert arrays == {key: fingerprint(array[:]) for key, array in again.items()}
    print(json.dumps({"zarr": zarr.__version__, "ends": ends.tolist(), "arrays": arrays}))


if __name__ == "__main__":
    main(sys.argv[1])
