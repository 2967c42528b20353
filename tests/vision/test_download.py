"""A file is fetched once, whole, and is what it should be; a broken connection costs what it lost."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mistakes import refusal
from range_server import Server, serving

from s2robot.vision.encoders.download import download

CONTENT = bytes(range(256)) * 4000  # 1 MB
MD5 = hashlib.md5(CONTENT).hexdigest()
NAME = "weights.pth"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as server:
        yield server


def get(server: Server, folder: Path, md5: str = MD5) -> Path:
    download(server.url + NAME, folder / "new" / NAME, md5, "weights")
    return folder / "new" / NAME


def part(folder: Path) -> Path:
    return folder / "new" / f"{NAME}.part"


def begun(folder: Path, content: bytes) -> None:
    """An earlier download broke off here."""
    part(folder).parent.mkdir()
    part(folder).write_bytes(content)


def test_a_file_is_fetched_once(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert get(server, tmp_path).read_bytes() == CONTENT
    get(server, tmp_path)
    assert server.asked == [""]
    assert [path.name for path in tmp_path.glob("*/*")] == [NAME]
    assert re.search(r"weights: 1\.02M of 1\.02M B", capfd.readouterr().err)


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.break_after = [300_000, 200_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", "bytes=300000-", "bytes=500000-"]
    assert server.sent == len(CONTENT)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000, 0]
    message = refusal(lambda: get(server, tmp_path))
    assert "broken off after 0.1 of 1.0 MB" in message
    assert "0.1 MB are kept, try again to go on, or put that file" in message
    assert not (tmp_path / "new" / NAME).exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.sent == len(CONTENT)


def test_a_server_that_cannot_resume_sends_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.break_after = [300_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", "bytes=300000-"]
    assert server.sent == 300_000 + len(CONTENT)


def test_what_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    begun(tmp_path, CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.sent == 0


@pytest.mark.parametrize(
    "before", [b"", b"something else", CONTENT + b"more"], ids=["none", "other", "longer"]
)
def test_a_wrong_checksum_is_refused_and_the_next_try_is_a_new_one(
    server: Server, tmp_path: Path, before: bytes
) -> None:
    begun(tmp_path, before)
    wrong = "0" * 32
    message = refusal(lambda: get(server, tmp_path, wrong if not before else MD5))
    assert message.startswith(f"{server.url}{NAME} gave a file of md5 ")
    assert f"put the one of md5 {wrong if not before else MD5} at {tmp_path / 'new' / NAME}" in message
    assert not (tmp_path / "new" / NAME).exists()
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_refusal_says_which_file_to_put_where(server: Server, tmp_path: Path) -> None:
    server.status = 404
    message = refusal(lambda: get(server, tmp_path))
    expected = f"(HTTP 404 Not Found): put that file (md5 {MD5}) at {tmp_path / 'new' / NAME}"
    assert message == f"cannot fetch {server.url}{NAME} {expected}"
    assert len(server.asked) == 1


def test_offline(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{NAME}"
    message = refusal(lambda: download(url, tmp_path / NAME, MD5, "weights"))
    assert message.startswith(f"cannot fetch {url} (")
    assert "refused" in message
    assert message.endswith(f"put that file (md5 {MD5}) at {tmp_path / NAME}")


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=get, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "new" / NAME).read_bytes() == CONTENT
    assert server.asked == [""]


def test_a_full_disk_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    part(tmp_path).parent.mkdir()
    part(tmp_path).symlink_to("/dev/full")
    message = refusal(lambda: get(server, tmp_path))
    assert message == f"cannot write {part(tmp_path)}: No space left on device"


def test_a_folder_that_cannot_be_made_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file")
    assert refusal(lambda: get(server, tmp_path)).startswith(f"cannot write {part(tmp_path)}: ")
