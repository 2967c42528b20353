"""Trees of JSON or of a training's state with one thing wrong, as an edit or a bad disk leaves them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

WRONG: tuple[Any, ...] = (None, True, -1, 3, 0.5, float("nan"), "x", "", [], [None], {}, {"a": {}})
"""What stands in the place of the right value."""


def mutations(tree: Any) -> st.SearchStrategy[Any]:
    """The tree with one of its values replaced or removed, at any depth; or another value altogether."""
    return st.builds(
        _changed, st.just(tree), st.sampled_from(list(_paths(tree))), st.sampled_from([*WRONG, KeyError])
    )


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, (*path, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node[:2]):
            yield from _paths(value, (*path, index))


def _changed(tree: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return None if wrong is KeyError else wrong
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        if isinstance(node[key], tuple):
            node[key] = list(node[key])
        node = node[key]
    if wrong is KeyError:
        del node[path[-1]]
    else:
        node[path[-1]] = wrong
    return tree
