"""Nodes that are recorded again and again of other operands: what they are, learned once.

A function that looks at nothing but the types of its operands makes the same Nodes whenever the
types are the same. A Template keeps what they were, so that the function need not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.op import INPUT
from talweg.ir.trace import Trace
from talweg.ir.types import TensorType

# What makes one Node, see `Template.rows`.
Row: TypeAlias = "tuple[Any, TensorType, int | None, int | None, tuple[int, ...] | None]"


@final
class Template:
    """Nodes made of given ones. Places count the given Nodes first, then those made, in order.

    Attributes:
        rows: for each Node made its Op, its type, and the places of its inputs: of the first and
            the second, or of all where these are not one or two. None says that there is no such
            input, and three times None that a number stands in the place of the Op.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)

    def record(self, b: Builder, values: list[Node]) -> None:
        """Make the Nodes, in the order in which they were made first.

        Args:
            b: makes them, and names the user's line.
            values: those given; those made are appended.
        """
        pair, sole, add = b.pair, b.sole, values.append
        for op, type, first, second, inputs in self.rows:
            if second is not None:
                add(pair(op, values[first], values[second], type))  # type: ignore[index]
            elif first is not None:
                add(sole(op, values[first], type))
            elif inputs is not None:
                add(b.row(op, tuple([values[i] for i in inputs]), type))
            else:
                add(b.scalar(op, type.dtype))


def learn(trace: Trace, start: int, given: Sequence[Node]) -> tuple[Template, list[Node]] | None:
    """Return what a trace lists from `start` as a Template of some given Nodes, and those Nodes.

    Returns:
        None where that is more than what was made of the given Nodes and of numbers: a value from
        elsewhere, or what a given Node of an earlier trace is computed from; and where one Node is
        given twice.
    """
    places = {node: i for i, node in enumerate(given)}
    if len(places) < len(given):
        return None
    made: list[Node] = []
    rows: list[Row] = []
    for node in trace.nodes[start:]:
        if node in places:
            if node.value is None and node.op is not INPUT:
                return None
            continue
        if node.op is INPUT:
            number = node.number
            if number is None:
                return None
            rows.append((number, node.type, None, None, None))
        else:
            inputs = [places.get(x, -1) for x in node.inputs]
            if -1 in inputs:
                return None
            rows.append((node.op, node.type, *_split(inputs)))
        places[node] = len(places)
        made.append(node)
    return Template(rows), made


def _split(inputs: list[int]) -> tuple[int | None, int | None, tuple[int, ...] | None]:
    if len(inputs) == 1:
        return inputs[0], None, None
    if len(inputs) == 2:
        return inputs[0], inputs[1], None
    return None, None, tuple(inputs)
