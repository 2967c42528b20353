"""A demo store in a bucket of a real S3 server (moto's), on this machine's loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demos_command import refused, run, run_json
from loopback import free_port
from mistakes import refusal

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.data import copies
from s2robot.data.files import open_files
from s2robot.data.store import DemoStore
from s2robot.data.validate import validate
from s2robot.train.demos import Source, load_episode_features
from s2robot.train.options import TrainOptions
from s2robot.utils.distributed import World
from s2robot.vision.cache import encode_store
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import FeatureExtractor

obstore = pytest.importorskip("obstore", reason='pip install "s2robot[s3]"')

BUCKET = "demos"
ENCODER_OPTIONS = EncoderOptions.of({"name": "random-tiny", "architecture": "tiny", "sizes": [64]})


def training(*overrides: str) -> TrainOptions:
    """The options of a training with the small encoder."""
    given = ("demos=-", "out=-", "encoder.name=random-tiny", "encoder.sizes=[64]", "bf16=false")
    return read_options(TrainOptions, compose("train", [*given, "encode_workers=0", *overrides]))


def find_server() -> str:
    """moto's server, of this environment or on the path."""
    beside = Path(sys.executable).with_name("moto_server")
    found = str(beside) if beside.exists() else shutil.which("moto_server")
    if found is None:
        pytest.skip('moto_server is missing: pip install -e ".[dev]"')
    return found


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A bucket, and the environment that leads to it."""
    port = free_port()
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    server = subprocess.Popen([find_server(), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        with pytest.MonkeyPatch.context() as patch:
            settings = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
            for name, value in settings.items():
                patch.setenv(name, value)
            wait_for(port, server)
            make_bucket(port)
            yield
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("moto's server does not answer")


def make_bucket(port: int) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200


@pytest.fixture
def local(toy_demos: Path, tmp_path: Path) -> DemoStore:
    return DemoStore.open(shutil.copytree(toy_demos, tmp_path / "demos"))


@pytest.fixture
def url(s3: None, local: DemoStore, request: pytest.FixtureRequest) -> str:
    """The toy store, uploaded."""
    prefix = request.node.name.replace("[", "-").replace("]", "")
    upload(local, prefix)
    return f"s3://{BUCKET}/{prefix}"


def bucket() -> Any:
    return obstore.store.S3Store(BUCKET, client_options={"allow_http": True})


def upload(store: DemoStore, prefix: str) -> None:
    for file in store.path.rglob("*"):
        if file.is_file():
            obstore.put(bucket(), f"{prefix}/{file.relative_to(store.path).as_posix()}", file.read_bytes())


def test_a_remote_store_reads_as_the_local_one(url: str, local: DemoStore) -> None:
    remote = DemoStore.open(url)
    assert (str(remote), remote.ids(), remote.spec) == (url, local.ids(), local.spec)
    assert remote.attributes == local.attributes
    assert remote.digest() == local.digest()
    for episode_id in local.ids():
        there, here = remote.episode(episode_id), local.episode(episode_id)
        assert there.attributes == here.attributes
        assert there.sizes() == here.sizes()
        for name in ("proprio", "action", "action_applied", "time"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
        np.testing.assert_array_equal(there.images("front"), here.images("front"))
        np.testing.assert_array_equal(there.images("wrist", -1), here.images("wrist", -1))


def test_dropped_and_other_folders_are_left_out_there_too(s3: None, local: DemoStore) -> None:
    local.drop("000001")
    (local.path / "notes").mkdir()
    (local.path / "notes/readme").write_text("hello")
    upload(local, "dropped")
    remote = DemoStore.open(f"s3://{BUCKET}/dropped/")
    assert remote.ids() == local.ids()
    assert ["000001" in remote, "notes" in remote, "000000" in remote] == [False, False, True]


def test_the_verbs_that_read_take_a_url(
    url: str, local: DemoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("list", "stats"):
        code, there = run_json(capsys, command, url)
        here = run_json(capsys, command, local.path)[1]
        assert (code, there) == (0, here | {"path": url})
    assert run(capsys, "validate", url) == (0, [f"{url}: 4 episodes read, nothing wrong"])
    assert run(capsys, "replay", url, "workers=0")[0] == 0
    page = tmp_path / "page.html"
    assert run(capsys, "inspect", url, f"out={page}", "contact_sheets=1")[0] == 0
    assert url in page.read_text()


def test_a_remote_store_is_copied_here(url: str, local: DemoStore, tmp_path: Path) -> None:
    here = copies.merge([DemoStore.open(url)], tmp_path / "here")
    assert validate(here) == []
    assert len(here) == len(local)
    for episode_id in here.ids():
        reader, source = here.episode(episode_id), local.episode(episode_id)
        np.testing.assert_array_equal(reader.images("front"), source.images("front"))
        came = {"store": url, "id": episode_id, "sha256": source.digest()}
        assert reader.attributes["sources"] == [came]


def test_damage_is_found_there_too(url: str, local: DemoStore) -> None:
    prefix = url.rpartition("/")[2]
    chunk = "000001/images/front/c.0.0.0.0"
    content = bytearray((local.path / chunk).read_bytes())
    content[len(content) // 2] ^= 1
    obstore.put(bucket(), f"{prefix}/{chunk}", bytes(content))
    obstore.delete(bucket(), f"{prefix}/000002/time/c.0")
    obstore.delete(bucket(), f"{prefix}/000003/zarr.json")
    said = [str(finding) for finding in validate(DemoStore.open(url))]
    assert [line.partition(": steps")[0] for line in said] == [
        "000001: images/front",
        "000002: time",
        "000003: zarr.json is missing: it is not listed as an episode",
    ]


def test_nothing_is_written_there(url: str, local: DemoStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = DemoStore.open(url).digest()
    for arguments in (("repair", url), ("drop", url, "000000"), ("inspect", url)):
        assert f"{url} is not on this machine" in refused(capsys, *arguments)
    for arguments in (("merge", local.path, f"out={url}/new"), ("split", local.path, f"held_out={url}/new")):
        assert f"{url}/new is not on this machine" in refused(capsys, *arguments)
    assert "is not on this machine" in refusal(lambda: DemoStore.open_or_create(url, local.spec))
    assert DemoStore.open(url).digest() == before


def test_training_reads_a_remote_store_and_keeps_its_features_here(url: str, tmp_path: Path) -> None:
    remote = DemoStore.open(url)
    options = training()
    source = Source(remote, tuple(remote.ids()))
    assert "is not on this machine" in refusal(
        lambda: load_episode_features(source, remote.spec, options, World())
    )
    spec = remote.spec.select_cameras(["front"])
    tracks = load_episode_features(source, spec, training(f"features={tmp_path / 'features'}"), World())
    assert [track.length for track in tracks] == [e.length for e in remote.episodes()]
    np.testing.assert_array_equal(tracks[2].action, remote.episode("000002").action)
    assert len(list((tmp_path / "features").glob("*/*/front.npy"))) == 4


@pytest.fixture
def features(s3: None, request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/features-{request.node.name}"


def machine(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From now on this is a machine of that name, with a cache of its own."""
    monkeypatch.setenv("S2ROBOT_CACHE", str(tmp_path / name))
    return tmp_path / name


def of_front(store: DemoStore, root: str | Path, **options: Any) -> dict[str, np.ndarray]:
    cache = encode_store(store.path, root, ENCODER_OPTIONS, cameras=["front"], bf16=False, **options)
    return {i: np.array(cache.load(store, i, "front")) for i in store.ids()}


def nothing_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was there")

    monkeypatch.setattr(FeatureExtractor, "__call__", refuse)


@pytest.mark.parametrize("workers", [0, 2])
def test_features_in_a_bucket_are_computed_once_for_all_machines(
    local: DemoStore, features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    features = features.replace("[", "-").replace("]", "")
    expected = of_front(local, tmp_path / "here")
    machine(tmp_path, "one", monkeypatch)
    assert same(of_front(local, features, workers=workers), expected)
    nothing_is_encoded(monkeypatch)
    assert same(of_front(local, features), expected)
    other = machine(tmp_path, "other", monkeypatch)
    assert same(of_front(local, features), expected)
    assert len(list(other.glob("features/*/*/*/front.npy"))) == len(expected), "memory-mapped from a copy"
    options = training(f"features={features}")
    source = Source(local, tuple(local.ids()))
    tracks = load_episode_features(source, local.spec.select_cameras(["front"]), options, World())
    found = zip(local.ids(), (np.array(track.features["front"][:]) for track in tracks), strict=True)
    assert same(dict(found), expected), "training reads it"
    assert [path.rpartition("/")[2] for path in uploaded(features)] == ["front.npy"] * 4 + ["identity.json"]


def test_what_was_not_uploaded_or_not_downloaded_whole_is_made_up_for(
    local: DemoStore, features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = machine(tmp_path, "one", monkeypatch)
    expected = of_front(local, features)
    before = uploaded(features)
    obstore.delete(bucket(), before[1])
    cut = sorted(own.glob("features/*/*/*/front.npy"))[2]
    cut.write_bytes(cut.read_bytes()[:200])
    nothing_is_encoded(monkeypatch)
    assert same(of_front(local, features), expected)
    assert uploaded(features) == before
    machine(tmp_path, "other", monkeypatch)
    of_front(local, features)
    for name in before:
        obstore.delete(bucket(), name)
    assert same(of_front(local, features), expected)
    assert uploaded(features) == before, "a machine that only downloaded gives it all back"


@pytest.mark.slow
def test_two_machines_share_the_work_and_each_has_all_of_it(
    local: DemoStore, features: str, tmp_path: Path
) -> None:
    expected = of_front(local, tmp_path / "here")
    port = free_port()
    processes = [encoding(rank, local, features, tmp_path / str(rank), port) for rank in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    for rank in range(2):
        copies = {p.parent.name.split("-")[0]: p for p in (tmp_path / str(rank)).glob("features/*/*/*/*.npy")}
        assert same({name: np.load(path) for name, path in copies.items()}, expected)


def encoding(rank: int, store: DemoStore, features: str, own: Path, port: int) -> subprocess.Popen[bytes]:
    """One process of two, on a machine of its own to its own knowledge."""
    world = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "S2ROBOT_CACHE": str(own)}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    options = (
        "encoder.name=random-tiny",
        "encoder.sizes=[64]",
        "cameras=[front]",
        "bf16=false",
        "workers=0",
        "augment.variants=0",
    )
    command = [sys.executable, "-m", "s2robot.cli", "encode", f"demos={store.path}", f"features={features}"]
    return subprocess.Popen([*command, *options], env=os.environ | world | meeting)


def test_a_bucket_for_features_that_is_not_there_is_one_line(
    local: DemoStore, s3: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path, "one", monkeypatch)
    message = refusal(lambda: of_front(local, "s3://no-such-bucket/features"))
    assert message.startswith("cannot read s3://no-such-bucket/features: ")
    message = refusal(lambda: of_front(local, "gs://features"))
    assert message == "gs://features: expected a folder, or s3://BUCKET/PREFIX"


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[i], expected[i]) for i in found)


def uploaded(url: str) -> list[str]:
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    return sorted(entry["path"] for page in obstore.list(bucket(), prefix) for entry in page)


def test_what_is_no_store_is_one_line(s3: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"s3://{BUCKET}/nothing is not a demo store" in refused(capsys, "list", f"s3://{BUCKET}/nothing")
    message = refused(capsys, "list", "s3://no-such-bucket/demos")
    assert message.startswith("cannot read s3://no-such-bucket/demos: ") or "is not a demo store" in message
    assert "expected a folder, or s3://BUCKET/PREFIX" in refused(capsys, "list", "ftp://host/demos")


def test_a_server_that_does_not_answer_is_one_line(
    s3: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    message = refused(capsys, "list", "s3://demos/x")
    assert message.startswith("cannot read s3://demos/x: ")
    assert "AWS_ENDPOINT_URL" in message


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert 'pip install "s2robot[s3]"' in refusal(lambda: open_files("s3://demos/x"))
