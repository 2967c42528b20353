"""The report is read as a browser reads it, and its numbers, videos and figures are taken out and checked."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import HOSTILE, SVG, Page
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from s2robot.core.errors import UserError
from s2robot.core.task import SpawnRegion, Task
from s2robot.reports.evaluation import PAGE_FIELDS, RolloutVideo, write_report
from s2robot.reports.result import SCHEMA, headline, tally
from s2robot.statistics import wilson
from s2robot.tasks.cube_pick import CubePickTask, start_at
from s2robot.utils.video import encode_mp4, read_mp4


def evaluation(rollouts: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    common = {
        "schema": SCHEMA,
        "task": CubePickTask().to_dict(),
        "random_starts": None,
        "rate": 10.0,
        "max_steps": 50,
        "seed": 7,
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "checkpoint_sha256": "0123abcd" * 8,
        "config": {"env": {"rate": 10, "cameras": ["front", "wrist"]}},
    }
    numbered = [rollout | {"index": i} for i, rollout in enumerate(rollouts)]
    return tally(numbered) | common | changes


def rollout(
    x: float = 0.0, y: float = 0.0, success: bool = True, steps: int = 30, yaw: float = 0.3, seed: int = 11
) -> dict[str, Any]:
    return {
        "index": 0,
        "start": start_at((x, y, yaw)).to_dict(),
        "success": success,
        "steps": steps,
        "seed": seed,
        "failure": None if success else "missed",
        "failure_text": None if success else "missed by 2.3 cm",
        "metrics": {},
    }


def film(brightness: int = 100) -> bytes:
    return encode_mp4(np.full((4, 16, 16, 3), brightness, np.uint8), fps=10)


def written(tmp_path: Path, shown: dict[str, Any], videos: Any = (), *more: Any, **named: Any) -> Page:
    path = tmp_path / "report.html"
    write_report(path, shown, videos, *more, **named)
    return Page(path)


outcomes = st.builds(
    rollout,
    x=st.floats(-0.12, 0.12),
    y=st.floats(-0.15, 0.15),
    yaw=st.floats(-3.2, 3.2),
    success=st.booleans(),
    steps=st.integers(1, 50),
    seed=st.integers(0, 2**32),
)


@settings(
    max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # shrinking would draw for minutes
@given(st.lists(outcomes, min_size=1, max_size=16), st.lists(outcomes, max_size=4))
def test_every_figure_is_the_evaluations(tmp_path_factory, rollouts, further):
    further = [r | {"index": i} for i, r in enumerate(further)]
    shown = evaluation(rollouts, random_starts=tally(further) if further else None)
    page = written(tmp_path_factory.mktemp("report"), shown)
    hits = [r["success"] for r in rollouts]
    low, high = wilson(sum(hits), len(hits))
    assert f"Picked up the cube in {sum(hits)} of {len(hits)} rollouts" in page.text
    interval = f"95 % interval {100 * low:.0f}-{100 * high:.0f} %"
    assert f"{100 * sum(hits) / len(hits):.0f} %, {interval}" in page.text
    assert ("from random starts" in page.text) == bool(further)
    rows = page.rollout_rows()
    for part, shown_rows in ((rollouts, rows[: len(rollouts)]), (further, rows[len(rollouts) :])):
        failures_first = sorted(range(len(part)), key=lambda i: part[i]["success"])
        assert [int(row[0]) for row in shown_rows] == failures_first
        for row in shown_rows:
            r = part[int(row[0])]
            x, y, yaw = r["start"]["place"]
            assert row[1:4] == [f"{x:.3f}", f"{y:.3f}", f"{yaw:.2f}"]
            assert ("picked up" in row[4], "missed" in row[4]) == (r["success"], not r["success"])
            assert row[5:] == [f"{r['steps']} ({r['steps'] / 10:.1f} s)", str(r["seed"])]


def test_headline():
    shown = evaluation([rollout(success=i >= 4) for i in range(16)])
    assert headline(shown) == "picked up the cube in 12 of 16 rollouts (75 %, 95 % interval 51-90 %)"


def test_headline_of_a_part_has_the_words_of_the_task():
    task = CubePickTask(goal="pushed the T into place").to_dict()
    shown = evaluation([rollout()], task=task)
    part = tally([rollout(success=i >= 1) for i in range(4)])
    assert headline(shown, part) == "pushed the T into place in 3 of 4 rollouts (75 %, 95 % interval 30-95 %)"


def test_nothing_is_loaded_from_anywhere(tmp_path):
    curves = {"loss/train": [(0, 1.0), (10, 0.5)]}
    page = written(tmp_path, evaluation([rollout()]), [RolloutVideo(0, film())], curves)
    links = ("src", "href", "xlink:href", "poster", "srcset", "data", "action", "background")
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in links:
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, name)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page.source))
    assert "@import" not in page.source
    assert "default-src 'none'" in page.source


def test_one_script_may_run_and_it_is_the_pages_own(tmp_path):
    page = written(tmp_path, evaluation([rollout()]), [RolloutVideo(0, film())])
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.source
    assert page.count("script") == 1 and "Play all" in script
    assert written(tmp_path, evaluation([rollout()])).count("script") == 0


def test_hostile_text_stays_text(tmp_path):
    shown = evaluation(
        [rollout(success=False) | {"failure_text": HOSTILE}],
        config={HOSTILE: [HOSTILE]},
        versions={HOSTILE: HOSTILE},
        checkpoint_sha256=HOSTILE,
    )
    curves = {f"{HOSTILE}/{HOSTILE}": [(0, 1.0)], "loss/a$b_{$": [(0, 1.0)]}
    page = written(tmp_path, shown, [RolloutVideo(0, film())], curves, [(HOSTILE, 3.0)], [HOSTILE])
    assert (page.count("script"), page.count("img")) == (1, 0), "the script is the page's own"
    assert page.count("pre") == 1
    assert page.text.count(HOSTILE) >= 9, (
        "outcome, film, camera, stage, version twice, checkpoint, curve, config"
    )


def test_videos_play_back_failures_first(tmp_path):
    videos = [RolloutVideo(i, film(40 * i + 20)) for i in range(4)]
    page = written(tmp_path, evaluation([rollout(success=i not in (1, 3)) for i in range(4)]), videos)
    order = (1, 3, 0, 2)
    assert page.videos() == [videos[i].mp4 for i in order]
    for i, mp4 in zip(order, page.videos(), strict=True):
        assert read_mp4(mp4).shape == (4, 16, 16, 3)
        assert read_mp4(mp4).mean() == pytest.approx(40 * i + 20, abs=4)
    assert re.findall(r"(✗|✓)\s+(\d): x", page.text) == [
        ("✗", "1"),
        ("✗", "3"),
        ("✓", "0"),
        ("✓", "2"),
    ]


def test_films_show_how_they_end_before_they_are_played(tmp_path):
    frames = np.stack([np.full((16, 32, 3), brightness, np.uint8) for brightness in (20, 120, 220)])
    page = written(
        tmp_path, evaluation([rollout()]), [RolloutVideo(0, encode_mp4(frames, 10))], cameras=["a", "b"]
    )
    (poster,) = [a["poster"] for tag, a in page.elements if tag == "video"]
    jpeg = base64.b64decode((poster or "").removeprefix("data:image/jpeg;base64,"), validate=True)
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert picture.shape == (16, 32, 3) and picture.mean() == pytest.approx(220, abs=6)
    assert "img-src data:" in page.source
    assert "cameras a, b" in page.text


def test_captions_have_the_unit_of_the_task(tmp_path):
    task = Task(goal="pushed the T").to_dict() | {
        "region": asdict(SpawnRegion((0, 512), (0, 512), unit="px"))
    }
    pushed = rollout() | {"start": {"options": {}, "place": [100.0, 256.0, 0.5]}}
    page = written(tmp_path, evaluation([pushed], task=task), [RolloutVideo(0, film())])
    assert "0: x 100 px, y 256 px, 30 steps" in page.text
    assert page.rollout_rows()[0][1:4] == ["100", "256", "0.50"]
    assert page.rows[0][:4] == ["index", "x [px]", "y [px]", "angle [rad]"]
    assert "cube" not in page.text.lower() and "robot" not in page.text.lower().replace("s2robot", "")


def test_metrics_are_explained_where_they_are_shown(tmp_path):
    known = rollout() | {"metrics": {"grasp_error_m": 0.004}}
    page = written(tmp_path, evaluation([known]))
    assert "Medians: grasp error 0.4 cm (successes)" in page.text
    assert "Grasp error: how far, along the table, the grasp that the policy predicts" in page.text
    assert "Grasp error:" not in written(tmp_path, evaluation([rollout()])).text


def test_the_map_has_x_down_and_y_to_the_right_as_the_front_camera_sees_them(tmp_path):
    places = [rollout(0.0, 0.0), rollout(0.1, 0.0), rollout(0.0, 0.1)]
    table = written(tmp_path, evaluation(places)).svgs[0]
    middle, away, left = (label_place(table, str(index)) for index in range(3))
    assert away[1] > middle[1] + 20
    assert away[0] == pytest.approx(middle[0], abs=1)
    assert left[0] > middle[0] + 20
    assert left[1] == pytest.approx(middle[1], abs=1)


def label_place(svg: ElementTree.Element, label: str) -> tuple[float, float]:
    """Where a label stands in an SVG, in its units from the top left."""
    found = [e for e in svg.iter(f"{SVG}text") if e.text == label]
    assert len(found) == 1, f"label {label} is there once, as text"
    return float(found[0].attrib["x"]), float(found[0].attrib["y"])


@pytest.mark.parametrize("yaw", [0.2, 1.0, -0.3])
def test_yaw_turns_a_cube_counterclockwise_seen_from_above(tmp_path, yaw):
    table = written(tmp_path, evaluation([rollout(yaw=yaw)])).svgs[0]
    (square,) = (e for e in table.iter(f"{SVG}path") if "fill: var(--hit)" in e.get("style", ""))
    corners = np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", square.attrib["d"]), dtype=float)
    right, down = corners[1] - corners[0]
    assert np.arctan2(-down, right) % (np.pi / 2) == pytest.approx(yaw % (np.pi / 2), abs=0.01)


@pytest.mark.parametrize("success", [True, False])
def test_hits_are_filled_and_misses_hollow_and_crossed(tmp_path, success):
    table = written(tmp_path, evaluation([rollout(success=success)] * 3)).svgs[0]
    styles = [e.get("style", "") for e in table.iter() if re.search(r"--(hit|miss)", e.get("style", ""))]
    filled = [style for style in styles if "fill: var(--hit)" in style]
    hollow = [style for style in styles if "fill: none" in style and "stroke: var(--miss)" in style]
    assert (len(filled), len(hollow)) == ((3, 0) if success else (0, 9)), "a miss is a square and two strokes"
    assert len(styles) == len(filled) + len(hollow)


def test_curves_share_a_figure_by_group(tmp_path):
    curves = {
        "loss/train": [(0, 1.0), (100, 0.1), (200, 0.01)],
        "loss/validation": [(100, 0.2)],
        "learning_rate": [(0, 1e-3), (200, 0.0)],
        "unseen": [],
    }
    page = written(tmp_path, evaluation([rollout()]), [], curves)
    assert len(page.svgs) == 3, "the map, the losses and the learning rate"
    losses = {element.text for element in page.svgs[1].iter(f"{SVG}text")}
    assert {"train", "validation", "step"} <= losses
    assert "learning_rate" in page.text
    assert "unseen" not in page.text
    assert not any("mathdefault" in (e.text or "") for svg in page.svgs for e in svg.iter())


def test_a_loss_that_is_not_in_use_is_not_drawn(tmp_path):
    action = [(0, 1.0), (10, 0.5)]
    curves = {"total/train": action, "action/train": action, "grasp/train": [(0, 0.0), (10, 0.0)]}
    page = written(tmp_path, evaluation([rollout()]), [], curves)
    assert len(page.svgs) == 2, "the map and the action loss"
    captions = re.findall("<figcaption>(.*?)</figcaption>", page.source)
    assert "action" in captions and "grasp" not in captions and "total" not in captions


def test_what_made_it_is_told(tmp_path):
    stages = [("record", 61.2), ("train", 178.6)]
    page = written(tmp_path, evaluation([rollout()]), [], None, stages)
    assert ["record", "1 min 01 s"] in page.rows
    assert ["together", "4 min 00 s"] in page.rows
    assert "Made with s2robot, torch 2.14.1" in page.text
    shown = evaluation([rollout()], date="2026-11-30", git={"commit": "abcdef0123456789", "dirty": False})
    shown["versions"] = {"s2robot": "0.1.0", "torch": "2.14.1"}
    made = "Made with s2robot 0.1.0 (commit abcdef01), torch 2.14.1, 2026-11-30"
    assert made in written(tmp_path, shown).text
    for told in ("0123abcd" * 8, "2.14.1", "50 steps at 10.0 Hz", "rate: 10\n", "- wrist\n"):
        assert told in page.text
    assert "Training" not in page.text
    assert "Films" not in page.text


def test_ids_are_unique(tmp_path):
    curves = {"a": [(0, 1.0), (1, 2.0)], "b": [(0, 1.0), (1, 2.0)]}
    ids = [a["id"] for _, a in written(tmp_path, evaluation([rollout()]), [], curves).elements if "id" in a]
    assert len(ids) == len(set(ids)) > 0


def test_the_same_evaluation_makes_the_same_file(tmp_path):
    shown = evaluation([rollout(), rollout(0.1, 0.1, success=False)])
    assert written(tmp_path, shown).source == written(tmp_path, shown).source


@pytest.mark.parametrize("field", PAGE_FIELDS)
def test_a_missing_field_is_named_and_the_earlier_report_kept(tmp_path, field):
    path = tmp_path / "report.html"
    path.write_text("earlier")
    shown = evaluation([rollout()])
    del shown[field]
    with pytest.raises(UserError, match=f"evaluation is no evaluation: it lacks {field}"):
        write_report(path, shown, [])
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "earlier"


def test_an_attempt_without_steps_to_success_is_shown(tmp_path):
    page = written(tmp_path, evaluation([rollout(success=False) | {"steps": None}]))
    assert page.rollout_rows()[0][5] == "-"
