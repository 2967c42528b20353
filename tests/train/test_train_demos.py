"""Which demos are trained on: of several stores, and those that pass the filters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from kill_writer import SPEC, made_episode
from mistakes import refusal
from omegaconf import OmegaConf

from s2robot.config import compose
from s2robot.config.options import read_options
from s2robot.core.spec import RobotSpec
from s2robot.data.store import DemoStore
from s2robot.train.demos import choose_demos, collected_by, decide_variants, passes
from s2robot.train.options import Filter, TrainOptions
from s2robot.vision.augment import Augmentation


def options(demos: str | list[str], cameras: list[str] | None = None, **wanted: Any) -> TrainOptions:
    """Of a training on these demos, of which it takes what is wanted."""
    given: Any = OmegaConf.to_container(compose("train", ["demos=x", "out=y"]), resolve=True)
    given["filter"] |= wanted
    return read_options(TrainOptions, given | {"demos": demos, "cameras": cameras})


def store(path: Path, spec: RobotSpec = SPEC, seed: int = 0, *attributes: dict[str, Any]) -> str:
    """A store of short episodes with these attributes."""
    made = DemoStore.create(path, spec)
    for n, given in enumerate(attributes or ({}, {})):
        episode = made_episode(seed, n, spec, steps=2)
        episode.attributes |= given
        made.append(episode)
    return str(path)


def chosen(*stores: str, cameras: list[str] | None = None, **wanted: Any) -> Any:
    """Of one store by its path, of several as a list: as they come from the command line."""
    demos = stores[0] if len(stores) == 1 else list(stores)
    return choose_demos(options(demos, cameras, **wanted))


BY_PERSON = {"by_person": [True, True], "operator": "ada"}
INTERVENTION = {"by_person": [False, True], "operator": "bob"}
SCRIPTED = {"config": {"teleop": "none"}}


@pytest.mark.parametrize(
    ("attributes", "who"),
    [(BY_PERSON, "person"), (INTERVENTION, "intervention"), (SCRIPTED, "scripted"), ({}, "unknown")],
)
def test_collected_by_is_told_by_what_was_recorded(attributes: dict[str, Any], who: str) -> None:
    assert collected_by(attributes) == who


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["000000", "000001", "000002", "000003"]),
        ({"success": True}, ["000001", "000003"]),
        ({"success": False}, ["000000", "000002"]),
        ({"operators": ["ada"]}, ["000000"]),
        ({"operators": ["ada", "bob"]}, ["000000", "000001"]),
        ({"collected_by": ["scripted", "intervention"]}, ["000001", "000002"]),
        ({"collected_by": ["scripted", "intervention"], "success": True}, ["000001"]),
    ],
)
def test_filters_choose_episodes(tmp_path: Path, wanted: dict[str, Any], expected: list[str]) -> None:
    path = store(tmp_path / "demos", SPEC, 0, BY_PERSON, INTERVENTION, SCRIPTED, {})
    demos = chosen(path, **wanted)
    assert [list(source.ids) for source in demos.sources] == [expected]
    assert len(demos) == len(expected)


def test_what_a_demo_does_not_say_passes_no_filter_of_it() -> None:
    assert not passes({}, Filter(success=False))
    assert not passes({}, Filter(operators=("ada",)))
    assert passes({}, Filter())


def test_several_stores_are_one_training(tmp_path: Path) -> None:
    first, second = store(tmp_path / "a"), store(tmp_path / "b", seed=1)
    demos = chosen(first, second)
    assert [str(source.store) for source in demos.sources] == [first, second]
    assert len(demos) == 4
    digests = {chosen(*paths).digest for paths in ((first,), (second,), (first, second), (second, first))}
    assert len(digests) == 4
    assert chosen(first).digest == DemoStore.open(first).digest()


def test_other_episodes_of_a_store_are_other_demos(tmp_path: Path) -> None:
    path = store(tmp_path / "a")
    assert chosen(path, success=True).digest != chosen(path).digest


def test_the_environment_is_the_one_they_share(tmp_path: Path) -> None:
    def recorded(name: str, env: dict[str, Any]) -> str:
        made = DemoStore.create(tmp_path / name, SPEC, {"record": {"env": env}})
        made.append(made_episode(0, 0, steps=2))
        return str(tmp_path / name)

    one, same, other = recorded("a", {"rate": 10}), recorded("b", {"rate": 10}), recorded("c", {"rate": 20})
    assert chosen(one, same).env == {"rate": 10}
    assert chosen(one, other).env is None


ROBOT = {"_target_": "s2robot.robot.env.RobotEnv", "arm": {"_target_": "s2robot.robot.arms.franka.FrankaArm"}}
LIVE = {"_target_": "envs.realtime.robot.LiveCubePick"}
TOY = {"_target_": "envs.toy.Toy"}


@pytest.mark.parametrize(
    ("root", "episode", "variants", "env"),
    [
        ({"record": {"env": TOY}}, {}, 0, TOY),
        ({"record": {"teleop": "person", "env": ROBOT}}, {}, 2, None),
        ({"record": {"env": LIVE}}, {}, 0, None),
        ({"deploy": {"robot": ROBOT}}, {}, 2, None),
        ({"deploy": {"robot": LIVE}}, {}, 0, None),
        ({"imported": "lerobot: mine"}, {}, 2, None),
        ({"record": {"seed": 0}}, {"config": {"env": TOY}}, 0, None),  # merged, of several environments
        ({}, {"config": {"env": ROBOT}}, 2, None),
        ({"record": [], "deploy": "x"}, {"config": None}, 2, None),
    ],
)
def test_variants_are_made_by_default_of_what_is_not_simulated(
    tmp_path: Path, root: dict[str, Any], episode: dict[str, Any], variants: int, env: dict[str, Any] | None
) -> None:
    made = DemoStore.create(tmp_path / "demos", SPEC, root)
    demo = made_episode(0, 0, steps=2)
    demo.attributes |= episode
    made.append(demo)
    asked = options(str(made))
    demos = choose_demos(asked)  # a robot's are trained on too, and name no environment for rollouts
    decided, remark = decide_variants(asked, demos)
    assert (decided.augment.variants, demos.env) == (variants, env)
    assert (remark is None) == (variants == 0)
    given = dataclasses.replace(asked, augment=Augmentation(variants=1))
    assert decide_variants(given, demos) == (given, None)


def test_variants_are_made_of_all_where_some_are_of_a_robot(tmp_path: Path) -> None:
    made = DemoStore.create(tmp_path / "simulated", SPEC, {"record": {"env": TOY}})
    made.append(made_episode(0, 0, steps=2))
    asked = options([str(made), store(tmp_path / "imported", seed=1)])
    assert decide_variants(asked, choose_demos(asked))[0].augment.variants == 2


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"action_space": "joint"}, "action_space: ee_delta against joint"),
        ({"cameras": {"front": (24, 32, 3)}}, "cameras: "),
        ({"rate": 20.0}, "rate: 10.0 against 20.0"),
    ],
)
def test_stores_of_different_robots_are_refused(
    tmp_path: Path, change: dict[str, Any], difference: str
) -> None:
    first = store(tmp_path / "a")
    second = store(tmp_path / "b", dataclasses.replace(SPEC, **change))
    said = refusal(lambda: chosen(first, second))
    assert said.startswith(f"{first} and {second} hold demos of different robots: {difference}")


def test_stores_that_share_the_cameras_asked_for_go_together(tmp_path: Path) -> None:
    front = dataclasses.replace(SPEC, cameras={"front": (24, 32, 3)})
    demos = chosen(store(tmp_path / "a"), store(tmp_path / "b", front), cameras=["front"])
    assert list(demos.spec.cameras) == ["front"]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    path, empty = store(tmp_path / "a"), str(tmp_path / "empty")
    DemoStore.create(empty, SPEC)
    assert refusal(lambda: chosen(path, path)) == f"demos=[{path},{path}]: a store is named twice"
    assert "holds no demos: `s2robot record`" in refusal(lambda: chosen(path, empty))
    assert refusal(lambda: choose_demos(options([]))) == ("demos=[]: name at least one store")
    said = refusal(lambda: chosen(path, operators=["ada"]))
    assert said == f"none of the 2 demos of {path} passes filter.operators=['ada']"
    assert "unknown filter.collected_by 'persn': did you mean 'person'?" in refusal(
        lambda: chosen(path, collected_by=["persn"])
    )
    assert "filter.success=yes: expected true or false" in refusal(lambda: chosen(path, success="yes"))
    assert "filter.operators=ada: expected a list" in refusal(lambda: chosen(path, operators="ada"))


def test_what_the_scripted_expert_recorded_is_collected_by_it(toy_store: Path) -> None:
    assert len(chosen(str(toy_store), collected_by=["scripted"])) == 4
