"""Trees of values, as `torch.utils._pytree` has them."""

from __future__ import annotations

import importlib
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

import talweg.frontends.torch as torch
from talweg.frontends.torch import pytree

Pair = namedtuple("Pair", "left right")
TREES: list[tuple[Any, list[Any]]] = [
    (3, [3]),
    (None, [None]),
    ([], []),
    ([1, (2, None), {"b": 3, "a": [4]}], [1, 2, None, 3, 4]),
    (Pair(1, Pair([2], 3)), [1, 2, 3]),
    (OrderedDict(x=1, y=(2,)), [1, 2]),
    (deque([1, [2]], 3), [1, 2]),
    (defaultdict(list, k=[1, 2]), [1, 2]),
]


@pytest.mark.parametrize(("tree", "leaves"), TREES)
def test_a_tree_comes_back_from_its_leaves(tree: Any, leaves: list[Any]) -> None:
    found, spec = pytree.tree_flatten(tree)
    assert found == leaves == pytree.tree_leaves(tree)
    assert spec.num_leaves == len(leaves)
    again = pytree.tree_unflatten(found, spec)
    assert again == tree
    assert type(again) is type(tree)
    assert spec == pytree.tree_structure(again)
    with pytest.raises(ValueError, match="leaves"):
        pytree.tree_unflatten([*found, 1], spec)


def test_programs_find_it() -> None:
    module = importlib.import_module(f"{torch.__name__}.utils._pytree")
    assert module.tree_map is pytree.tree_map


def test_functions_of_leaves() -> None:
    tree = {"a": [1, 2.0], "b": (3,)}
    assert pytree.tree_map(lambda v: v + 1, tree) == {"a": [2, 3.0], "b": (4,)}
    other = {"b": (30,), "a": [10, [20]]}
    both = pytree.tree_map(lambda *row: row, tree, other)
    assert both == {"a": [(1, 10), (2.0, [20])], "b": ((3, 30),)}
    assert pytree.tree_map_only(float, str, tree) == {"a": [1, "2.0"], "b": (3,)}
    assert pytree.tree_map(len, tree, is_leaf=lambda v: isinstance(v, list | tuple)) == {
        "a": 2,
        "b": 1,
    }
    assert pytree.tree_any(lambda v: v > 2, tree)
    assert not pytree.tree_all(lambda v: v > 2, tree)


@pytest.mark.parametrize("other", [[1], [1, 2, 3], (1, 2), 4])
def test_trees_that_differ(other: Any) -> None:
    with pytest.raises(ValueError, match="differ"):
        pytree.tree_map(max, [1, 2], other)
    with pytest.raises(ValueError, match="differ"):
        pytree.tree_map(max, {"a": 1}, {"b": 1})
