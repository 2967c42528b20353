"""A demo store's files, or others, in a bucket (S3 or what speaks its language), through obstore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from s2robot.core.errors import UserError

_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_CLIENT = {"connect_timeout": "5s", "timeout": "60s"}
_SETTINGS = "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like are read from the environment"


@dataclass(frozen=True)
class RemoteFiles:
    """The objects below a prefix of a bucket: `Files` at `s3://BUCKET/PREFIX`."""

    url: str
    bucket: Any
    """obstore's store, whose paths are relative to the prefix."""

    def __str__(self) -> str:
        return self.url

    @classmethod
    def open(cls, url: str) -> RemoteFiles:
        """Raises UserError for another scheme, a URL without a bucket, or where obstore is not installed."""
        scheme, _, rest = url.partition("://")
        if scheme != "s3" or not rest.strip("/"):
            raise UserError(f"{url}: expected a folder, or s3://BUCKET/PREFIX")
        try:
            from obstore.store import S3Store
        except ImportError:
            raise UserError(f'{url} needs the package obstore: pip install "s2robot[s3]"') from None
        name, _, prefix = rest.strip("/").partition("/")
        client = _CLIENT | {"allow_http": _endpoint().startswith("http://")}
        options: dict[str, Any] = {"retry_config": _RETRY, "client_options": client}
        return cls(url.rstrip("/"), S3Store(name, prefix=prefix or None, **options))

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        from obstore.exceptions import BaseError

        return (BaseError, OSError)

    @property
    def zarr(self) -> Any:
        from zarr.storage import ObjectStore

        return ObjectStore(self.bucket, read_only=True)

    def read(self, name: str, last: int | None = None) -> bytes:
        import obstore

        with self._answered():
            if last is None:
                return bytes(obstore.get(self.bucket, name).bytes())
            return bytes(obstore.get(self.bucket, name, options={"range": {"suffix": last}}).bytes())

    def write(self, name: str, file: Path) -> None:
        """Uploads a file: it appears whole or not at all."""
        import obstore

        with self._answered("write to"):
            obstore.put(self.bucket, name, file)

    def exists(self, name: str) -> bool:
        import obstore

        try:
            with self._answered():
                obstore.head(self.bucket, name)
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str) -> set[str]:
        import obstore

        with self._answered():
            found = obstore.list_with_delimiter(self.bucket, folder or None)
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return {path.rpartition("/")[2] for path in paths}

    def folders_with(self, name: str) -> set[str]:
        # One listing of all there is: to ask for a file of each folder takes a request each.
        paths = [path.split("/") for path in self.sizes("")]
        return {path[0] for path in paths if path[1:] == [name]}

    def sizes(self, folder: str) -> dict[str, int]:
        import obstore

        with self._answered():
            entries = [e for page in obstore.list(self.bucket, folder or None) for e in page]
        start = len(folder) + 1 if folder else 0
        return {entry["path"][start:]: entry["size"] for entry in entries}

    @contextmanager
    def _answered(self, what: str = "read") -> Iterator[None]:
        """Turns what the bucket refuses into a UserError, but for what is missing."""
        try:
            yield
        except FileNotFoundError:
            raise
        except self.errors as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"cannot {what} {self}: {reason} ({_SETTINGS})") from error


def _endpoint() -> str:
    """The server that the environment names; empty for Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
