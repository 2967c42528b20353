"""The page of a store: outliers and damage are flagged, figures and frames are those of the store."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import toy_loop
from demos_command import refused, run
from html_page import HOSTILE, SVG, Page
from hypothesis import given
from hypothesis import strategies as st
from kill_writer import SPEC, made_episode
from PIL import Image

from s2robot.data.episode import Episode
from s2robot.data.store import DemoStore
from s2robot.data.tools.changes import changes, changing_box
from s2robot.data.tools.contact_sheets import FRAMES, contact_sheet
from s2robot.data.tools.figures import BINS, cell_counts, curves, histogram
from s2robot.data.tools.films import episode_film
from s2robot.data.tools.inspection import choose_drawn
from s2robot.data.tools.outliers import NEAR, at_moments, near_duplicates, outliers
from s2robot.utils.video import read_mp4


@pytest.fixture
def store(toy_demos: Path, tmp_path: Path) -> DemoStore:
    return DemoStore.open(shutil.copytree(toy_demos, tmp_path / "demos"))


@pytest.fixture(scope="module")
def page(toy_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """That of the toy store, with 4 sheets."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    assert toy_loop.s2robot("demos", "inspect", toy_demos, f"out={out}") == 0
    return Page(out)


def inspected(capsys: pytest.CaptureFixture[str], store: DemoStore, *options: str) -> Page:
    code, lines = run(capsys, "inspect", store.path, *options)
    assert code == 0, lines
    return Page(store.path / "inspect.html")


def copy_of(episode: Episode, noise: float = 0.0, steps: int | None = None) -> Episode:
    rng = np.random.default_rng(0)
    cut = slice(steps)
    arrays = [getattr(episode, name)[cut] for name in ("proprio", "action", "action_applied")]
    arrays = [(a + noise * rng.standard_normal(a.shape)).astype(np.float32) for a in arrays]
    frames = {name: images[cut] for name, images in episode.images.items()}
    return Episode(frames, *arrays, episode.time[cut], dict(episode.attributes))


def smooth_episodes(count: int, steps: int = 30) -> dict[str, Episode]:
    """Episodes that differ as demos do: other ends, the same shape."""
    rng = np.random.default_rng(1)
    share = np.linspace(0, 1, steps)[:, None]
    made = {}
    for n in range(count):
        ends = [rng.uniform(-0.1, 0.1, size).astype(np.float32) for size in (3, 2, 2)]
        arrays = [(share * end).astype(np.float32) for end in ends]
        made[f"{n:06d}"] = Episode({}, *arrays, np.arange(steps) / 10)
    return made


# Outliers and near-duplicates


def test_a_store_of_like_episodes_has_no_outliers() -> None:
    episodes = smooth_episodes(30)
    assert outliers(episodes, SPEC) == {}
    assert near_duplicates(episodes) == []


OUTLIERS = {
    "length": lambda e: copy_of(e, steps=6),
    "rate": lambda e: replace(e, time=e.time * 2),
    "longest step": lambda e: replace(e, time=e.time + 3 * (e.time > 1)),
    "largest action 'dx [m]'": lambda e: replace(e, action=e.action + 5),
    "smallest proprio 'gripper [m]'": lambda e: replace(e, proprio=e.proprio - 5),
}


@pytest.mark.parametrize("name", OUTLIERS)
def test_an_episode_unlike_the_others_is_flagged_with_the_reason(name: str) -> None:
    episodes = smooth_episodes(20)
    episodes["000007"] = OUTLIERS[name](episodes["000007"])
    found = outliers(episodes, SPEC)
    assert list(found) == ["000007"]
    assert any(why.startswith(name) and "half of the episodes: " in why for why in found["000007"])


def test_copies_are_found_whatever_their_noise_and_length() -> None:
    episodes = smooth_episodes(10)
    episodes["copy"] = copy_of(episodes["000003"])
    episodes["noisy"] = copy_of(episodes["000005"], noise=1e-4)
    thin = {n: getattr(episodes["000008"], n)[::2] for n in ("proprio", "action", "action_applied", "time")}
    thin = {n: np.concatenate([a, getattr(episodes["000008"], n)[-1:]]) for n, a in thin.items()}
    episodes["thin"] = Episode({}, **thin)
    pairs = near_duplicates(episodes)
    assert {pair[:2] for pair in pairs} == {("000003", "copy"), ("000005", "noisy"), ("000008", "thin")}
    assert pairs[0] == ("000003", "copy", 0.0)
    assert all(distance < NEAR for *_, distance in pairs)


def test_one_episode_has_no_like() -> None:
    assert near_duplicates(smooth_episodes(1)) == []


@given(steps=st.integers(1, 40), points=st.integers(2, 40))
def test_moments_run_from_the_first_step_to_the_last(steps: int, points: int) -> None:
    array = np.random.default_rng(steps).standard_normal((steps, 2))
    moments = at_moments(array, points)
    assert moments.shape == (points, 2)
    np.testing.assert_allclose(moments[[0, -1]], array[[0, -1]])
    np.testing.assert_allclose(at_moments(array, steps), array, atol=1e-12)


@given(flagged=st.sets(st.integers(0, 19)), count=st.integers(0, 25))
def test_flagged_episodes_are_drawn_first(flagged: set[int], count: int) -> None:
    ids = [f"{n:06d}" for n in range(20)]
    named = [ids[n] for n in flagged]
    drawn = choose_drawn(ids, named, count)
    assert len(drawn) == len(set(drawn)) == min(count, 20)
    assert set(drawn[: len(named)]) >= set(named) or len(drawn) < len(named)
    assert len(set(named) & set(drawn)) == min(count, len(named))


def test_cells_count_every_place() -> None:
    places = np.random.default_rng(0).uniform(-0.1, 0.1, (50, 2))
    counts, x, y = cell_counts(places)
    assert counts.sum() == 50
    row, column = np.searchsorted(x, places[7, 0]) - 1, np.searchsorted(y, places[7, 1]) - 1
    assert counts[row, column] > 0
    assert cell_counts(np.zeros((3, 2)))[0].sum() == 3


# The page


def test_the_page_shows_the_store(page: Page, toy_demos: Path) -> None:
    store = DemoStore.open(toy_demos)
    steps = sum(store.episode(i).length for i in store.ids())
    assert f"4 demos in {store.path}" in page.text
    assert f"{steps} steps, {steps / 10:.0f} s at 10 Hz" in page.text
    rows = {row[0]: row for row in page.rows if row[0] in store.ids()}
    for episode_id in store.ids():
        episode = store.episode(episode_id)
        x, y, yaw = episode.attributes["start"]["place"]
        pose = [f"{x:.3f}", f"{y:.3f}", f"{yaw:.2f}"]
        assert rows[episode_id][1:7] == [str(episode.length), "10.00", "yes", *pose]
    drawn = {e.text for svg in page.svgs for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {*store.spec.proprio, *store.spec.action} <= drawn
    assert len(page.svgs) == 1 + 1 + 1 + 3 + 4, "map, lengths, changes, three arrays, four episodes"
    assert "Measured rate: 10.00 to 10.00 Hz, 10 Hz asked for" in page.text.replace("\n", " ")


def test_every_episode_can_be_played(page: Page, toy_demos: Path) -> None:
    store = DemoStore.open(toy_demos)
    films = [read_mp4(film) for film in page.videos()]
    assert [len(film) for film in films] == [store.episode(i).length for i in store.ids()]
    assert all(film.shape[1:] == (64, 2 * 64, 3) for film in films), "both cameras"
    first = store.episode(store.ids()[0])
    assert films[0][5, :, :64].mean() == pytest.approx(first.images("front", 5).mean(), abs=4)


def test_a_page_of_many_demos_is_small_and_most_of_it_is_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    for seed in range(40):
        store.append(made_episode(seed, 0, steps=20))
    page = inspected(capsys, store)
    assert len(page.source) < 8e6, "of noise, which no codec makes small"
    seen, _, folded = page.source.partition("more of 40</summary>")
    assert (seen.count("<video"), folded.count("<video")) == (8, 32)
    assert page.count("script") == 1, "after the last film"


def test_the_box_is_around_what_changes(page: Page, tmp_path: Path) -> None:
    spec = replace(SPEC, cameras={"still": (80, 160, 3), "moved": (80, 160, 3)})
    store = DemoStore.create(tmp_path / "demos", spec)
    for seed in range(3):
        episode = made_episode(seed, 0, spec, steps=20)
        still = np.zeros((20, 80, 160, 3), np.uint8)
        still[:, 20:40, 80:120] = episode.images["still"][:, 20:40, 80:120]
        store.append(replace(episode, images={"still": still, "moved": episode.images["moved"]}))
    boxes = {camera: changing_box(changes(store.episodes(), camera)[1]) for camera in spec.cameras}
    assert boxes["still"] == pytest.approx((0.5, 0.25, 0.75, 0.5), abs=0.03)
    assert boxes["moved"] == pytest.approx((0, 0, 1, 1), abs=0.02)
    assert changing_box(np.zeros((8, 8))) == (0, 0, 1, 1)
    drawn = {e.text for svg in page.svgs for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert any((text or "").startswith("front: [") for text in drawn)


def test_a_long_episode_is_thinned_out(tmp_path: Path) -> None:
    spec = replace(SPEC, cameras={"a": (8, 8, 3)})
    store = DemoStore.create(tmp_path / "demos", spec)
    store.append(made_episode(0, 0, spec, steps=700))
    assert len(read_mp4(episode_film(store.episode(store.ids()[0]), spec))) == len(range(0, 700, 3))


@pytest.mark.parametrize(("values", "most"), [([20] * 9, 1), (list(range(500)), BINS + 1), ([3, 4, 4, 9], 3)])
def test_histograms_are_bars(values: list[int], most: int) -> None:
    drawn = ElementTree.fromstring(histogram(values, "length [steps]", step=1))
    style = "fill: var(--hit)"
    boxes = [
        np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", e.attrib["d"]), float)
        for e in drawn.iter(f"{SVG}path")
        if style in e.get("style", "")
    ]
    bars = [box for box in boxes if np.ptp(box[:, 1]) > 0]
    assert 1 <= len(bars) <= most
    assert all(np.ptp(bar[:, 0]) < 50 for bar in bars), "px of some 300: no block from side to side"


def test_of_many_entries_a_few_are_lines_and_the_others_a_band() -> None:
    spec = replace(SPEC, proprio=tuple(f"p{i}" for i in range(15)))
    episode = made_episode(0, 0, spec, steps=20)
    drawn = ElementTree.fromstring(curves("0", {"0": episode}, spec))
    texts = {e.text for e in drawn.iter(f"{SVG}text")}
    assert "7 others" in texts and len(texts & set(spec.proprio)) == 8


def test_the_page_needs_nothing_else(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, name)
    assert "default-src 'none'" in page.source
    assert "img-src data:" in page.source
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_contact_sheets_hold_the_frames(page: Page, toy_demos: Path) -> None:
    store = DemoStore.open(toy_demos)
    urls = [attributes["src"] or "" for tag, attributes in page.elements if tag == "img"]
    assert len(urls) == 4
    jpeg = base64.b64decode(urls[0].removeprefix("data:image/jpeg;base64,"), validate=True)
    sheet = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert jpeg == contact_sheet(store.episode(store.ids()[0]), store.spec)
    assert sheet.shape == (2 * 96 + 2, FRAMES * 98 - 2, 3)
    episode = store.episode(store.ids()[0])
    for row, camera in enumerate(store.spec.cameras):
        for column, step in ((0, 0), (FRAMES - 1, episode.length - 1)):
            part = sheet[row * 98 : row * 98 + 96, column * 98 : column * 98 + 96]
            assert part.mean(axis=(0, 1)) == pytest.approx(
                episode.images(camera, step).mean(axis=(0, 1)), abs=4
            )


def test_duplicates_outliers_and_damage_are_flagged(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(store.path / "000001", store.path / "000004")
    (store.path / "000002/action/c.0.0").unlink()
    page = inspected(capsys, store, "contact_sheets=2")
    assert "nearly the same as 000001 (distance 0)" in page.text
    assert "nearly the same as 000004 (distance 0)" in page.text
    assert "action is damaged (c.0.0 is missing)" in page.text
    first = [a["id"] for tag, a in page.elements if (a.get("id") or "").startswith("episode-")][:2]
    assert first == ["episode-000001", "episode-000004"]


def test_frames_that_cannot_be_read_leave_the_rest(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for chunk in (store.path / "000000/images/wrist").glob("c.*"):
        chunk.unlink()
    page = inspected(capsys, store, "contact_sheets=2")
    assert "images/wrist is damaged" in page.text
    assert page.count("img") == 1


def test_episodes_without_places_and_with_one_step_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=1))
    page = inspected(capsys, store)
    assert "Where the episodes start" not in page.text
    assert "measured rate" not in page.text
    assert ["000000", "1", "-", "no", "-", "-", "-", ""] in page.rows


def test_hostile_text_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = type(SPEC)(SPEC.cameras, (HOSTILE, "b", "c"), ("d", HOSTILE), HOSTILE, 10.0)
    store = DemoStore.create(tmp_path / "demos", spec, {"note": HOSTILE})
    store.append(made_episode(0, 0, spec, steps=5))
    page = inspected(capsys, store)
    assert page.count("script") == 1, "the page's own"
    assert page.count("img") == 1, "the contact sheet"
    assert page.text.count(HOSTILE) >= 4


def test_an_earlier_page_is_replaced_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    store.append(made_episode(0, 0, steps=5))
    out = store.path / "inspect.html"
    first = inspected(capsys, store).source
    assert inspected(capsys, store).source == first, "the same store makes the same page"
    store.append(made_episode(0, 1, steps=5))
    assert "2 demos" in inspected(capsys, store, "contact_sheets=0").text
    out.write_text("thesis")
    assert "it is not replaced" in refused(capsys, "inspect", store.path)
    assert out.read_text() == "thesis"


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = DemoStore.create(tmp_path / "demos", SPEC)
    assert "no demos that can be read" in refused(capsys, "inspect", store.path)
    assert "contact_sheets=-1" in refused(capsys, "inspect", store.path, "contact_sheets=-1")


# rerun


def test_without_rerun_the_extra_is_named_before_anything_is_written(
    store: DemoStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert 'pip install "s2robot[rerun]"' in refused(capsys, "inspect", store.path, "--rerun")
    assert not (store.path / "inspect.html").exists()


def test_a_recording_for_rerun_holds_frames_and_numbers(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason='pip install "s2robot[rerun]"')
    code, lines = run(capsys, "inspect", store.path, "--rerun", "contact_sheets=2")
    assert (code, "inspect.rrd" in lines[0]) == (0, True)
    assert not list(store.path.glob(".inspect*")), "nothing else is left"
    command = [sys.executable, "-m", "rerun", "rrd"]
    subprocess.run([*command, "verify", store.path / "inspect.rrd"], check=True, capture_output=True)
    stats = subprocess.run([*command, "stats", store.path / "inspect.rrd"], capture_output=True, text=True)
    drawn = choose_drawn(store.ids(), [], 2)
    arrays = ("images/front", "images/wrist", "proprio", "action", "action_applied")
    assert {f"/{i}/{name}" for i in drawn for name in arrays} <= set(
        re.findall(r"^(/\d.+?):", stats.stdout, re.M)
    )
    (rows,) = re.findall(r"num_rows = ([\d\W]+?)\n", stats.stdout)
    steps = sum(store.episode(i).length for i in drawn)
    assert int(re.sub(r"\D", "", rows)) >= steps * len(arrays)


def test_a_file_of_another_kind_is_not_replaced_by_a_recording(
    store: DemoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason='pip install "s2robot[rerun]"')
    (store.path / "inspect.rrd").write_text("thesis")
    assert "is no recording of rerun" in refused(capsys, "inspect", store.path, "--rerun", "contact_sheets=0")
    assert (store.path / "inspect.rrd").read_text() == "thesis"
    assert not (store.path / "inspect.html").exists()
