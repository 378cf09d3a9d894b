"""`torch.utils._pytree`: values in lists, tuples and dicts, one after another."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Leaf = Callable[[Any], bool]


@dataclass(frozen=True)
class TreeSpec:
    """What a tree is without its leaves.

    Args:
        type: of the container; None for a leaf.
        context: what else it takes to make the container: keys, a length, a default.
        children: the structures of what it holds, in order.
    """

    type: Any = None
    context: Any = None
    children_specs: tuple[TreeSpec, ...] = ()

    @property
    def num_leaves(self) -> int:
        """How many leaves there are."""
        if self.type is None:
            return 1
        return sum(child.num_leaves for child in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether this is a leaf."""
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Return a tree of this structure with other leaves."""
        return tree_unflatten(leaves, self)


_LEAF = TreeSpec()
_DICTS = (dict, OrderedDict, defaultdict)


def _opened(tree: Any, is_leaf: Leaf | None) -> tuple[Any, list[Any]] | None:
    kind = type(tree)
    if is_leaf is not None and is_leaf(tree):
        return None
    if kind in _DICTS:
        factory = tree.default_factory if kind is defaultdict else None
        return (tuple(tree), factory), list(tree.values())
    if kind is deque:
        return tree.maxlen, list(tree)
    if kind in (list, tuple) or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return None if kind in (list, tuple) else "fields", list(tree)
    return None


def _closed(spec: TreeSpec, parts: list[Any]) -> Any:
    if spec.type in _DICTS:
        keys, factory = spec.context
        pairs = zip(keys, parts, strict=True)
        return defaultdict(factory, pairs) if spec.type is defaultdict else spec.type(pairs)
    if spec.type is deque:
        return deque(parts, spec.context)
    return spec.type(*parts) if spec.context == "fields" else spec.type(parts)


def tree_flatten(tree: Any, is_leaf: Leaf | None = None) -> tuple[list[Any], TreeSpec]:
    """Return the leaves of a tree and its structure.

    Args:
        tree: lists, tuples, named tuples, dicts and deques of such; anything else is a leaf,
            None too.
        is_leaf: says for further values that they are leaves.
    """
    opened = _opened(tree, is_leaf)
    if opened is None:
        return [tree], _LEAF
    context, parts = opened
    found = [tree_flatten(part, is_leaf) for part in parts]
    leaves = [leaf for some, _ in found for leaf in some]
    return leaves, TreeSpec(type(tree), context, tuple(spec for _, spec in found))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """Return a tree of a structure.

    Args:
        leaves: what it holds, in order.
        treespec: from `tree_flatten`.

    Raises:
        ValueError: if there are more or fewer leaves than the structure has.
    """
    values = list(leaves)
    if len(values) != treespec.num_leaves:
        raise ValueError(f"the tree has {treespec.num_leaves} leaves; {len(values)} were given")
    rest = iter(values)

    def made(spec: TreeSpec) -> Any:
        if spec.type is None:
            return next(rest)
        return _closed(spec, [made(child) for child in spec.children_specs])

    return made(treespec)


def tree_leaves(tree: Any, is_leaf: Leaf | None = None) -> list[Any]:
    """Return the leaves of a tree."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Leaf | None = None) -> TreeSpec:
    """Return the structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def _under(spec: TreeSpec, tree: Any) -> list[Any]:
    """Return what stands in a tree where a structure has its leaves."""
    if spec.type is None:
        return [tree]
    opened = _opened(tree, None)
    if opened is None or type(tree) is not spec.type or len(opened[1]) != len(spec.children_specs):
        raise ValueError(f"the trees differ: {spec.type.__name__} here, {tree!r} there")
    parts: Iterable[Any] = opened[1]
    if spec.type in _DICTS:
        if set(tree) != set(spec.context[0]):
            raise ValueError(f"the trees differ in keys: {list(spec.context[0])}, {list(tree)}")
        parts = (tree[key] for key in spec.context[0])
    pairs = zip(spec.children_specs, parts, strict=True)
    return [leaf for child, part in pairs for leaf in _under(child, part)]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Leaf | None = None) -> Any:
    """Return a tree of the results of a function of each leaf.

    Args:
        func: of a leaf, and of what the rests have in its place.
        tree: gives the structure.
        rests: trees that have it too, at least down to the leaves of the first.
        is_leaf: says for further values that they are leaves.

    Raises:
        ValueError: if the structures differ.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [_under(spec, rest) for rest in rests]
    return tree_unflatten([func(*row) for row in zip(leaves, *others, strict=True)], spec)


def tree_map_only(
    type_or_types: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Leaf | None = None
) -> Any:
    """Return a tree in which the leaves of some types are results of a function.

    Args:
        type_or_types: a type, or a tuple of types.
        func: of such a leaf.
        tree: any tree.
        is_leaf: says for further values that they are leaves.
    """
    return tree_map(
        lambda leaf: func(leaf) if isinstance(leaf, type_or_types) else leaf, tree, is_leaf=is_leaf
    )


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Leaf | None = None) -> bool:
    """Return whether something is true of every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Leaf | None = None) -> bool:
    """Return whether something is true of a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


MODULES: dict[str, dict[str, Any]] = {
    "utils._pytree": {
        function.__name__: function
        for function in (
            *(TreeSpec, tree_flatten, tree_unflatten, tree_leaves, tree_structure),
            *(tree_map, tree_map_only, tree_all, tree_any),
        )
    }
    | {"PyTree": Any},
}
