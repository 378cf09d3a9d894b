"""The arguments of a call: Tensors, the Nodes that stand for them, and what else there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, final

from talweg.base.dtypes import DType
from talweg.engine.tensor import Tensor, twin
from talweg.ir.build import Builder
from talweg.ir.node import Node

LITERALS = frozenset({bool, int, str, NoneType, DType, type(Ellipsis)})
"""Classes of arguments that say all there is to know of them, besides floats and slices."""
_BOUNDS = {int, NoneType}


@final
class Operands:
    """The Tensors among the arguments of a call, and the Nodes that stand for them.

    Attributes:
        tensors: in the order of the arguments.
        nodes: one for each.
        distinct: the Nodes, each once.
    """

    __slots__ = ("_arguments", "_plain", "_twins", "distinct", "nodes", "tensors")

    def __init__(self) -> None:
        self._twins: dict[int, Node] = {}

    def nodes_of(
        self, args: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments, also those in lists and tuples, with Nodes for Tensors."""
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self._arguments: list[Any] = []
        self._plain = True
        given = self._each(args)
        kwargs: dict[str, Any] = {}
        for k, v in named.items():
            self._arguments.append(k)
            (kwargs[k],) = self._each((v,))
        self.distinct = self.nodes
        if len(self.nodes) > 1 and len(set(self.nodes)) < len(self.nodes):
            self.distinct = list(dict.fromkeys(self.nodes))
        return given, kwargs

    def _each(self, values: Sequence[Any]) -> list[Any]:
        seen = self._arguments
        given: list[Any] = []
        for value in values:
            cls = type(value)  # a Symbol says that it is of the class of its value
            if cls in LITERALS:
                seen.append(cls)
                seen.append(value)
            elif isinstance(value, Tensor):
                node = value._storage.node if value._view is None else value.node()
                if self._twins:
                    node = self._twins.get(id(value), node)
                self.tensors.append(value)
                self.nodes.append(node)
                seen.append(node.type)
                given.append(node)
                continue
            elif cls is slice:
                bounds = (value.start, value.stop, value.step)
                seen.append(slice)
                seen.extend(bounds)
                if not _BOUNDS.issuperset(map(type, bounds)):
                    self._plain = False
            elif cls is float:
                seen.append(value.hex())
            elif cls is list or cls is tuple:
                seen.append(cls)
                seen.append(len(value))
                value = cls(self._each(value))
            else:
                self._plain = False
            given.append(value)
        return given

    def kind(self, b: Builder) -> tuple[Any, ...] | None:
        """Return what two calls have in common that make the same Nodes of their operands.

        Returns:
            The types of operands, which of them are one, and the values of all other arguments;
            None where one of those is an object of another class than those of `LITERALS`.
        """
        if not self._plain:
            return None
        if self.distinct is not self.nodes:
            self._arguments.append(tuple(map(self.distinct.index, self.nodes)))
        return (b.default_float, *self._arguments)

    def tell_apart(self) -> bool:
        """Give Tensors of one Node, but of different places on the tape, Nodes of their own.

        Such are `x` and `x.detach()`. Return whether there were any.
        """
        if self.distinct is self.nodes:
            return False
        seen: dict[Node, Tensor] = {}
        for t, node in zip(self.tensors, self.nodes, strict=True):
            first = seen.setdefault(node, t)
            if first is not t and first._edge != t._edge and id(t) not in self._twins:
                self._twins[id(t)] = twin(node)
        return bool(self._twins)
