"""Imports point down only, in a circle nowhere, and need nothing that is not declared."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("s2robot", "envs", "demos")

# Each part of s2robot may import those of its own row and of the rows above it.
LAYERS = (
    {"__init__", "core"},
    {"commands", "config", "statistics", "tasks", "utils"},
    {"reports"},
    {"data", "vision"},
    {"policy", "robot"},
    {"evaluation", "integrations", "train"},
    {"advise", "compare", "serve", "teleop"},
    {"bench", "deploy", "record", "reproduce", "sweep"},
    {"cli", "doctor", "quickstart"},
)
ROBOT_MAY_IMPORT = {"__init__", "core", "integrations", "robot", "utils"}
API = ROOT / "s2robot" / "__init__.py"
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part of s2robot that a module belongs to: `s2robot.data.store` -> `data`."""
    return module.split(".")[1] if "." in module else "__init__"


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports anywhere; `from s2robot import gl` counts as s2robot.utils.gl."""
    return frozenset(_imported(ast.walk(ast.parse(path.read_text()))))


@cache
def imports_at_once(path: Path) -> frozenset[str]:
    """What a file imports when it is itself imported: not what its functions or type checkers import."""
    return frozenset(_imported(_outside_functions(ast.parse(path.read_text()))))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not typing_only:
            yield child
            yield from _outside_functions(child)


def _imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    known = {name_of(path) for path in MODULES}
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in names)


def test_s2robot_imports_neither_simulation_nor_demos() -> None:
    upward = [
        f"{name_of(path)} imports {module}"
        for path in MODULES
        for module in imports(path)
        if name_of(path).startswith("s2robot") and module.split(".")[0] in ("envs", "demos")
    ]
    assert upward == []


def test_the_simulation_does_not_import_demos() -> None:
    assert not [
        p for p in MODULES if name_of(p).startswith("envs") for m in imports(p) if m.startswith("demos")
    ]


def test_the_api_imports_nothing_before_it_is_used() -> None:
    assert {module.split(".")[0] for module in imports_at_once(API)} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.is_relative_to(ROOT / "s2robot") and p != API], ids=name_of
)
def test_imports_point_down(path: Path) -> None:
    part = part_of(name_of(path))
    if part == "robot":
        allowed = ROBOT_MAY_IMPORT
    else:
        row = next((i for i, layer in enumerate(LAYERS) if part in layer), None)
        assert row is not None, f"{part} has no place in LAYERS: give it one"
        allowed = set().union(*LAYERS[: row + 1])
    ours = {module for module in imports(path) if module.split(".")[0] == "s2robot"}
    assert {module for module in ours if part_of(module) not in allowed} == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    known = {name_of(path) for path in MODULES}
    graph = {name_of(path): {m for m in imports_at_once(path) if m in known} for path in MODULES}
    for module in graph:
        graph[module].discard(module)
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_what_is_imported_at_once_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}  # type: ignore[index]
    importable = set(PACKAGES) | sys.stdlib_module_names | _modules_of(declared)
    undeclared = {
        f"{name_of(path)} imports {module}"
        for path in MODULES
        for module in imports_at_once(path)
        if module.split(".")[0] not in importable
    }
    assert undeclared == set()


def _modules_of(distributions: set[str]) -> set[str]:
    """The top-level modules that these distributions bring."""
    owners = importlib.metadata.packages_distributions()
    return {
        module
        for module, names in owners.items()
        if {n.lower().replace("_", "-") for n in names} & distributions
    }


def test_every_dependency_has_a_tested_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    tested = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.split(r"[^\w-]", line)[0] for line in named} <= tested
