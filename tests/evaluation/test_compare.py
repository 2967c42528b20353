"""`s2robot compare` on files as `s2robot evaluate` writes them: what it prints, draws, claims and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import SVG, Page
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_loop import refusal, s2robot

from s2robot.compare.comparison import compare, p_in_words, percent, rounded_up
from s2robot.compare.read import Arm, arms, read
from s2robot.reports.result import SCHEMA, tally
from s2robot.statistics import holm, mcnemar, newcombe, wilson
from s2robot.statistics.seeds import ArmDifference
from s2robot.statistics.sequential import anytime_interval, anytime_p, positions_anytime
from s2robot.tasks.cube_pick import CubePickTask, start_at

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert(1)</script>&amp;"


def hits(count: int, of: int = 16) -> list[bool]:
    return [i < count for i in range(of)]


def rollouts(successes: Sequence[bool], shift: float = 0.0) -> list[dict[str, Any]]:
    return [
        {
            "index": i,
            "start": start_at((0.01 * i + shift, -0.01 * i, 0.1 * i)).to_dict(),
            "seed": 100 + i,
            "success": bool(success),
            "steps": 20,
            "failure": None,
            "failure_text": None,
            "metrics": {},
        }
        for i, success in enumerate(successes)
    ]


def evaluation(
    folder: Path,
    name: str,
    successes: Sequence[bool],
    random_starts: Sequence[bool] = (),
    seed: int = 0,
    **config: Any,
) -> Path:
    """`folder/name/evaluation.json`; its path."""
    content = {
        "schema": SCHEMA,
        "task": CubePickTask().to_dict(),
        **tally(rollouts(successes)),
        "random_starts": tally(rollouts(random_starts, shift=0.001)) if len(random_starts) else None,
        "checkpoint_sha256": f"{name}-sha",
        "seed": 0,
        "config": {
            "evaluate": {"checkpoint": f"runs/{name}", "n_action_steps": 8},
            "training": {"seed": seed, "steps": 1000},
            **config,
        },
    }
    path = folder / name / "evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert s2robot("compare", *arguments) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    return json.loads(printed(capsys, *arguments, "json=true"))


@pytest.fixture
def three_seeds_each(tmp_path: Path) -> list[Path]:
    """Arms s2 and base, three training seeds, 16 fixed and 40 random starts."""
    rng = np.random.default_rng(0)
    return [
        evaluation(
            tmp_path,
            f"{arm}_seed{seed}",
            rng.random(16) < rate,
            rng.random(40) < rate,
            seed,
            encoder={"name": "tiny", "sizes": sizes},
        )
        for arm, rate, sizes in (("s2", 0.95, [224, 448]), ("base", 0.6, [224]))
        for seed in range(3)
    ]


def test_two_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = evaluation(tmp_path, "a", hits(14), encoder={"sizes": [224, 448]})
    b = evaluation(tmp_path, "b", hits(13), encoder={"sizes": [224]})
    out = printed(capsys, a, b.parent)
    low, high = newcombe(hits(14), hits(13))
    interval = f"95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
    sentence = f"not separated: difference +6 pp ({interval}), p = 1; about "
    assert f"a v b: {sentence}" in out
    assert re.search(r"about \d+ starts would be needed", out)
    rows = [line.split() for line in out.splitlines()]
    assert ["a", "14/16", "88", "%", "64-97", "%"] in rows
    assert ["b", "13/16", "81", "%", "57-93", "%"] in rows
    assert "differs: encoder.sizes [224,448] (a), [224] (b)" in out
    assert "not another training" in out


def test_a_section_that_one_side_lacks_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = evaluation(tmp_path, "a", hits(9), env={"rate": 10, "cameras": ["front"], "max_steps": 40})
    b = evaluation(tmp_path, "b", hits(9), deploy={"robot": "mujoco", "speed": 1.0})
    said = [line for line in printed(capsys, a, b).splitlines() if line.startswith("differs:")]
    assert (
        "differs: env 3 options (a), null (b)" in said and "differs: deploy null (a), 2 options (b)" in said
    )
    assert not [line for line in said if "env." in line or "deploy." in line]


def test_what_is_separated_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path, "a", hits(16)), evaluation(tmp_path, "b", hits(8))
    assert "a v b: separated: difference +50 pp (95 % interval +21 to +72), p = 0.0078\n" in printed(
        capsys, a, b
    )


def test_equal_outcomes_ask_for_no_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path, "a", hits(12)), evaluation(tmp_path, "b", hits(12))
    out = printed(capsys, a, b)
    assert "a v b: not separated: difference 0 pp (" in out
    assert "no number of starts tells equal rates apart" in out


def test_figures_are_those_of_the_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    outcomes = {name: rng.random(16) < rate for name, rate in (("a", 0.9), ("b", 0.5), ("c", 0.4))}
    paths = [evaluation(tmp_path, name, o, arm=name) for name, o in outcomes.items()]
    found = as_json(capsys, *paths)["starts"]
    for rate, o in zip(found["rates"], outcomes.values(), strict=True):
        assert (rate["successes"], rate["trials"]) == (o.sum(), 16)
        assert [rate["low"], rate["high"]] == pytest.approx(wilson(int(o.sum()), 16))
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    p = [mcnemar(outcomes[x], outcomes[y]) for x, y in pairs]
    assert [(c["first"], c["second"]) for c in found["comparisons"]] == pairs
    assert [c["p"] for c in found["comparisons"]] == pytest.approx(p)
    assert [c["p_holm"] for c in found["comparisons"]] == pytest.approx(holm(p))
    for c in found["comparisons"]:
        x, y = outcomes[c["first"]], outcomes[c["second"]]
        assert [c["low"], c["high"]] == pytest.approx(newcombe(x, y))
        assert c["difference"] == pytest.approx(x.mean() - y.mean())
        assert c["pairs"]["only_first"] == (x & ~y).sum()
        assert c["separated"] == (c["p_holm"] <= 0.05 and (c["low"] > 0 or c["high"] < 0))


def test_seeds_are_one_arm(three_seeds_each: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, *three_seeds_each)
    assert [(arm["name"], len(arm["evaluations"])) for arm in found["arms"]] == [("s2", 3), ("base", 3)]
    assert [e["training_seed"] for e in found["arms"][0]["evaluations"]] == [0, 1, 2]
    assert found["differs"] == {"encoder.sizes": [[224, 448], [224]]}
    contents = [json.loads(path.read_text()) for path in three_seeds_each]
    for part, results in (("starts", contents), ("random_starts", [c["random_starts"] for c in contents])):
        table = np.array([[o["success"] for o in result["rollouts"]] for result in results])
        expected = ArmDifference.of(table[:3], table[3:])
        (comparison,) = found[part]["comparisons"]
        assert comparison["difference"] == pytest.approx(expected.difference)
        assert [comparison["low"], comparison["high"]] == pytest.approx(expected.interval())
        assert comparison["p"] == pytest.approx(expected.p())
        rates = found[part]["rates"]
        assert [rate["is_member"] for rate in rates] == [False, True, True, True] * 2
        assert rates[0]["successes"] == sum(rate["successes"] for rate in rates[1:4]) == table[:3].sum()
        assert [rates[0]["low"], rates[0]["high"]] == pytest.approx(expected.first.interval())
    assert found["random_starts"]["title"] == "40 random starts"


def test_seeds_are_kept_apart_on_request(
    three_seeds_each: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, *three_seeds_each, "group=false", "against=first")
    assert len(found["arms"]) == 6
    assert [c["first"] for c in found["starts"]["comparisons"]] == ["s2_seed0"] * 5


def test_two_trainings_of_one_seed_are_no_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two versions of the program, say: as one arm they would count as two trainings."""
    paths = [evaluation(tmp_path, name, hits(k)) for name, k in (("old", 9), ("new", 12))]
    assert [arm["name"] for arm in as_json(capsys, *paths)["arms"]] == ["old", "new"]


def test_one_arm_alone_has_its_rate(three_seeds_each: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, *three_seeds_each[:3])
    assert len(found["starts"]["rates"]) == 4
    assert found["starts"]["comparisons"] == []


def test_looking_often_is_judged_by_what_holds_at_all_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = evaluation(tmp_path, "a", hits(14)), evaluation(tmp_path, "b", hits(8))
    asked: tuple[list[str], ...] = ([], ["anytime=true"])
    (once,), (often,) = (as_json(capsys, a, b, *how)["starts"]["comparisons"] for how in asked)
    assert often["p"] == pytest.approx(anytime_p(hits(14), hits(8))) and often["p"] > once["p"]
    assert [often["low"], often["high"]] == pytest.approx(anytime_interval(hits(14), hits(8)))
    assert once["p"] <= 0.05 and once["separated"] and not often["separated"]
    alone = (often["pairs"]["only_first"] / 16, often["pairs"]["only_second"] / 16)
    assert often["needed"] == positions_anytime(*alone) > once["needed"], "planned by the test that is used"


def test_random_starts_that_not_all_have_are_left_out_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = evaluation(tmp_path, "a", hits(14), hits(30, 40)), evaluation(tmp_path, "b", hits(8))
    out = printed(capsys, a, b)
    assert "Random starts are left out: not all evaluations have them, only a." in out
    assert "40 random" not in out


def test_the_order_of_the_rollouts_is_of_no_consequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    a, b = (evaluation(tmp_path, name, rng.random(16) < 0.6) for name in "ab")
    before = as_json(capsys, a, b)
    changed(b, lambda content: content["rollouts"].reverse())
    assert as_json(capsys, a, b) == before


def changed(path: Path, change: Any) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_other_starts_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = evaluation(tmp_path, "a", hits(14), hits(9, 10))
    b = evaluation(tmp_path, "b", hits(14), hits(9, 10))

    intact = b.read_text()

    def said(change: Any) -> str:
        b.write_text(intact)
        return refusal(capsys, "compare", a, changed(b, change))

    assert "16 against 15;" in said(lambda c: (c["rollouts"].pop(), c.update(trials=15)))
    where = said(lambda c: c["rollouts"][3]["start"]["options"].update(cube=[0.5, -0.03, 0.3]))
    assert f"{a} and {b} were not tried on the same starts: 1 of 16 differ, the first is start 3: " in where
    assert (
        '{"cube": [0.03, -0.03, 0.30000000000000004]} seed 103 against {"cube": [0.5, -0.03, 0.3]} seed 103'
        in where
    )
    seeds = said(lambda c: [p.update(seed=p["seed"] + 1) for p in c["rollouts"]])
    assert "16 of 16 started from another seed (evaluate's seed=)" in seeds
    damaged = said(lambda c: c["rollouts"][0].update(success="false"))
    assert "is damaged: rollouts.0.success: input should be a valid boolean" in damaged
    assert "is damaged: rollouts.0: " in said(lambda c: c.update(rollouts=[1]))
    for damage in ({"config": []}, {"rollouts": None}, {"random_starts": []}):
        assert f"is damaged: {next(iter(damage))}: " in said(lambda c, damage=damage: c.update(damage))
    assert "is damaged: rollouts.0.start: field required" in said(lambda c: c["rollouts"][0].pop("start"))
    lacking = said(lambda c: c["rollouts"][0]["start"].pop("options"))
    assert "is damaged: rollouts.0.start.options: field required" in lacking
    twice = said(
        lambda c: (c["rollouts"].append(c["rollouts"][0]), c.update(trials=17, successes=c["successes"] + 1))
    )
    assert "holds two outcomes of the same start and seed" in twice
    further = said(lambda c: (c["random_starts"]["rollouts"].pop(), c["random_starts"].update(trials=9)))
    assert "were not tried on the same random starts: 10 against 9" in further


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["confidence=95"], "confidence=95: expected less than 1"),
        (["against=frist"], "unknown against 'frist': did you mean 'first'? valid: all, first"),
        (["out={there}"], "exists already: give another out=, or overwrite=true"),
        (["{missing}"], "no evaluation at "),
        (["{a}"], "is given twice"),
        (["{text}"], "is no readable JSON"),
        (["{stages}"], "has schema none: expected 2; evaluate the checkpoint again"),
        (["{former}"], "has schema 1: expected 2; evaluate the checkpoint again"),
        (["{empty}"], "is no evaluation: it lacks successes, trials"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    a, b = (evaluation(tmp_path, name, hits(14)) for name in "ab")
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "text.json").write_text("not JSON")
    (tmp_path / "stages.json").write_text('{"record": 61.0}')
    (tmp_path / "former.json").write_text('{"schema": 1}')
    (tmp_path / "empty.json").write_text('{"schema": 2}')
    names = {"there": "there.html", "missing": "c"}
    names |= {name: f"{name}.json" for name in ("text", "stages", "former", "empty")}
    places = {name: str(tmp_path / file) for name, file in names.items()} | {"a": str(a)}
    said = refusal(capsys, "compare", a, b, *(option.format(**places) for option in options))
    assert expected in said
    assert (tmp_path / "there.html").read_text() == "mine"


def test_no_evaluation_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "evaluations is missing: give evaluations=PATHS" in refusal(capsys, "compare")
    assert "no evaluations given" in refusal(capsys, "compare", "evaluations=[]")


def test_looking_often_at_several_seeds_is_refused(
    three_seeds_each: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, "compare", *three_seeds_each, "anytime=true")
    assert "s2 v base: anytime=true compares arms of one training seed each" in said


# The page


def page(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> Page:
    assert f"open {out}" in printed(capsys, *arguments, f"out={out}")
    return Page(out)


def test_the_page_tells_what_the_terminal_tells(
    three_seeds_each: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = page(capsys, tmp_path / "compare.html", *three_seeds_each)
    found = as_json(capsys, *three_seeds_each)
    for part in ("starts", "random_starts"):
        for comparison in found[part]["comparisons"]:
            assert comparison["sentence"] in shown.text
        for rate in found[part]["rates"]:
            low, high = percent(rate["low"]), percent(rate["high"])
            count = f"{rate['successes']}/{rate['trials']}"
            row = [count, f"{percent(rate['success_rate'])} %", f"{low}-{high} %", ""]
            assert row in [row[1:] for row in shown.rows if rate["name"] in row[0]]
    assert ["encoder.sizes", "[224,448]", "[224]"] in shown.rows
    for path in three_seeds_each:
        assert f"{path.parent.name}-sha" in shown.text


def test_the_grid_has_every_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path, "a", hits(14)), evaluation(tmp_path, "b", hits(9))
    shown = page(capsys, tmp_path / "compare.html", a, b)
    rates, differences, grid = shown.svgs
    assert {"a", "b", "start"} <= {e.text for e in grid.iter(f"{SVG}text")}
    assert marks(grid, "hit") == 14 + 9
    assert marks(grid, "miss") == 2 * (2 + 7), "a square and a cross each"
    assert {"a   14/16", "b   9/16"} <= {e.text for e in rates.iter(f"{SVG}text")}
    assert "a - b" in {e.text for e in differences.iter(f"{SVG}text")}
    for i, (x, y) in enumerate(zip(hits(14), hits(9), strict=True)):
        (row,) = (row for row in shown.rows if len(row) == 5 and row[0] == str(i))
        assert json.loads(row[1]) == {"cube": [0.01 * i, -0.01 * i, 0.1 * i]}
        assert row[2] == str(100 + i)
        assert row[3:] == ["✓" if hit else "✗ failed" for hit in (x, y)]


def marks(element: ElementTree.Element, colour: str) -> int:
    """How many marks of a colour are drawn; those in `defs` are only kept for use."""
    if element.tag == f"{SVG}defs":
        return 0
    is_one = element.tag in (f"{SVG}use", f"{SVG}path") and f"var(--{colour})" in element.get("style", "")
    return is_one + sum(marks(child, colour) for child in element)


def test_failures_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path, "a", hits(15)), evaluation(tmp_path, "b", hits(16))
    changed(a, lambda c: c["rollouts"][15].update(failure="missed", failure_text="missed by 3.1 cm"))
    shown = page(capsys, tmp_path / "compare.html", a, b)
    assert "✗ missed by 3.1 cm" in [row[3] for row in shown.rows if len(row) == 5]
    assert "1 missed" in printed(capsys, a, b)


def test_nothing_is_loaded_from_anywhere_and_hostile_text_stays_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = evaluation(tmp_path, "a", hits(14), encoder={"name": HOSTILE})
    b = evaluation(tmp_path, "b", hits(9), encoder={"name": "tiny"})
    shown = page(capsys, tmp_path / "compare.html", a, b)
    assert shown.count("script") == 0
    assert HOSTILE in shown.text
    for tag, attributes in shown.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
        assert all((attributes.get(name) or "#").startswith("#") for name in ("src", "href", "xlink:href"))
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_the_same_evaluations_make_the_same_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [evaluation(tmp_path, name, hits(k)) for name, k in (("a", 14), ("b", 9))]
    one, two = (page(capsys, tmp_path / name, *paths).source for name in ("1.html", "2.html"))
    assert one == two


def verdict_of(shown: Page) -> str:
    """The title, which is the headline too."""
    (title,) = re.findall("<title>(.*?)</title>", shown.source)
    assert f"<h1>{title}</h1>" in shown.source
    return title


def test_the_verdict_is_the_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (evaluation(tmp_path, name, hits(k)) for name, k in (("a", 8), ("b", 16), ("c", 7)))
    better = "b succeeds more often than a: +50 pp (95 % CI +21 to +72), from 16 starts"
    assert verdict_of(page(capsys, tmp_path / "1.html", a, b)) == better
    assert printed(capsys, a, b).splitlines()[-1] == as_json(capsys, a, b)["verdict"] == better
    alike = verdict_of(page(capsys, tmp_path / "2.html", a, c))
    assert re.fullmatch(
        r"No measurable difference between a and c: \+6 pp \(95 % CI .*\), from 16 starts", alike
    )
    highest = "b succeeds most often: 16 of 16 (100 %), measurably above all others, from 16 starts"
    assert verdict_of(page(capsys, tmp_path / "3.html", a, b, c)) == highest
    assert as_json(capsys, a, c, "group=false", "against=first")["verdict"] == alike
    assert as_json(capsys, a)["verdict"] == "a: 8 of 16 (50 %), from 16 starts"


def test_the_verdict_is_that_of_the_most_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = evaluation(tmp_path, "a", hits(16), hits(10, 40))
    b = evaluation(tmp_path, "b", hits(8), hits(40, 40))
    shown = page(capsys, tmp_path / "page.html", a, b)
    assert verdict_of(shown).startswith("b succeeds more often than a: +75 pp")
    assert shown.text.index("From 40 random starts") < shown.text.index("From 16 starts")


def test_many_arms_are_ranked_and_their_differences_a_matrix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"a": 3, "b": 16, "c": 9, "d": 10}
    paths = [evaluation(tmp_path, name, hits(k), arm=name) for name, k in counts.items()]
    shown, out = page(capsys, tmp_path / "page.html", *paths), printed(capsys, *paths)
    assert " v " not in out and "separated: " not in shown.text, "no sentence for every two"
    rates = [row for row in shown.rows if len(row) == 5 and row[0] in counts]
    assert [row[0] for row in rates[:4]] == ["b", "d", "c", "a"]
    matrix = {row[0]: row[1:] for row in shown.rows if len(row) == 5 and "·" in row}
    assert matrix["b"][0] == "·" and matrix["b"][3].startswith("+81") and matrix["a"][0].startswith("-81")
    lines = {line.split()[1]: line.split()[2:] for line in out.splitlines() if re.match(r" \d  ", line)}
    assert lines["b"] == [".", "+38", "+44", "+81*"] and lines["c"][1] == "-6"


def test_hashes_are_short_and_whole_in_the_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hashes = ["ab" * 32, "cd" * 32]
    paths = [evaluation(tmp_path, n, hits(9), demos_sha256=h) for n, h in zip("ab", hashes, strict=True)]
    shown = page(capsys, tmp_path / "page.html", *paths)
    assert ["demos_sha256", "abababab", "cdcdcdcd"] in shown.rows
    assert hashes[0] not in shown.text
    assert set(hashes) <= {attributes["title"] for _, attributes in shown.elements if "title" in attributes}
    assert "differs: demos_sha256 abababab (a), cdcdcdcd (b)" in printed(capsys, *paths)


def test_the_same_recorded_elsewhere_is_pooled_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        evaluation(
            tmp_path,
            f"s2_seed{seed}",
            hits(12 + seed),
            seed=seed,
            demos_sha256="one" if seed == 0 else "another",
            encoder_identity={"compute": "bf16" if seed == 0 else "fp32"},
        )
        for seed in range(3)
    ]
    out = printed(capsys, *paths)
    settings = "demos_sha256,encoder_identity.compute"
    assert (
        f"s2_seed0, s2 differ in {settings.replace(',', ', ')} alone: pool=[{settings}] makes one arm" in out
    )
    pooled = as_json(capsys, *paths, f"pool=[{settings}]")
    row = pooled["starts"]["rates"][0]
    assert (row["name"], row["seeds"], row["successes"]) == ("s2", 3, 39)
    assert f"Pooled though they differ within an arm: {settings.replace(',', ', ')}." in pooled["notes"]
    assert pooled["differs"] == {}
    assert "unknown pool 'demos_sha': did you mean 'demos_sha256'?" in refusal(
        capsys, "compare", *paths, "pool=[demos_sha]"
    )


def test_the_published_seeds_are_pooled_as_the_table_says(capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((ROOT / "docs" / "results" / "table10").glob("small-s2_seed?.json"))
    assert "makes one arm of them" in printed(capsys, *paths)
    pooled = as_json(capsys, *paths, "pool=[demos_sha256,encoder_identity.compute]")
    (row, *_) = pooled["random_starts"]["rates"]
    assert (row["name"], row["successes"], row["trials"]) == ("small-s2", 248, 300)


# Names, words and claims


def test_names_are_what_differs_in_the_paths(tmp_path: Path) -> None:
    paths = [
        evaluation(tmp_path / "runs", f"{n}/evaluation", hits(9), arm=n) for n in ("full/both", "full/front")
    ]
    assert [e.name for e in read([str(path) for path in paths])] == ["both", "front"]
    files = [path.rename(tmp_path / f"{i}.json") for i, path in enumerate(paths)]
    assert [e.name for e in read([str(file) for file in files])] == ["0", "1"]


def test_paths_may_hold_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "it's [1], x=1 {é}"
    paths = [evaluation(folder, name, hits(k)) for name, k in (("a b", 14), ("c,d", 9))]
    assert [arm["name"] for arm in as_json(capsys, *paths)["arms"]] == ["a b", "c,d"]


def test_an_arm_is_named_by_what_its_evaluations_have_in_common(three_seeds_each: list[Path]) -> None:
    found = arms(read([str(path) for path in three_seeds_each]), group=True)
    assert [arm.name for arm in found] == ["s2", "base"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=24))
def test_no_sentence_claims_more_than_its_interval(tmp_path_factory: pytest.TempPathFactory, drawn) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    paths = [str(evaluation(folder, n, o)) for n, o in zip("abc", zip(*drawn, strict=True), strict=True)]
    compared: list[Arm] = arms(read(paths), group=False)
    for c in compare(compared, "starts"):
        assert c.low <= c.difference <= c.high
        assert c.p_holm >= c.p
        says_separated = ": separated" in c.sentence()
        assert says_separated == c.separated
        assert not says_separated or ((c.low > 0 or c.high < 0) and c.p_holm <= 0.05)
        assert says_separated or ": not separated: " in c.sentence()
        if not c.separated and c.needed is not None:
            assert c.needed > len(drawn), "power 0.8 is more than what was there"


def test_numbers_in_words() -> None:
    assert [percent(x) for x in (0.0, 0.004, 0.006, 0.5, 1.0)] == ["0", "0.4", "0.6", "50", "100"]
    assert [percent(x, sign=True) for x in (0.0, 0.25, -0.004, 1e-9)] == ["0", "+25", "-0.4", "0"]
    words = [p_in_words(p) for p in (1.0, 0.2, 0.0499999, 0.05, 0.050004, 0.0009)]
    assert words == ["p = 1", "p = 0.2", "p = 0.05", "p = 0.05", "p = 0.050004", "p < 0.001"]
    assert [rounded_up(n) for n in (7, 16, 123, 4001)] == [7, 16, 130, 4100]


def test_the_published_evaluations_can_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Files from before failures were classified."""
    results = ROOT / "docs" / "results"
    out = printed(capsys, results / "front_standardized.json", results / "front_before.json")
    named = "front_standardized v front_before"
    assert f"{named}: separated: difference +38 pp (95 % interval +9 to +59), p = 0.031" in out
    assert (
        f"{named}: not separated: difference +7 pp (95 % interval -4 to +18), p = 0.3; about 530 starts"
        in out
    )
