"""How views lie over the storage of their operand."""

from __future__ import annotations

from typing import final

from talweg.engine.header import Header, chain_between, header_after
from talweg.engine.known import Reverse
from talweg.ir.node import Node


@final
class Aliased:
    """How a result of a view lies over the storage of its operand.

    Args:
        before: strides and offset of the operand.
        start: the operand.
        end: the result.

    Attributes:
        chain: the Views between them; None where there is another Op, or several operands.
        header: strides and offset of the result; None where its data must be copied.
        reverse: the gradients of such views, where more of them are expected.
    """

    __slots__ = ("chain", "header", "reverse")

    def __init__(self, before: Header, start: Node, end: Node) -> None:
        self.chain = chain = chain_between(start, end)
        self.header = None if chain is None else header_after(start.type.shape, before, chain)
        self.reverse: Reverse | None = None

    def between(self, start: Node, end: Node) -> tuple[Node, ...] | None:
        """Return the Nodes of such a view, in order; None where they are to be searched."""
        if self.chain is None:
            return None
        nodes: list[Node] = []
        while end is not start:
            nodes.append(end)
            end = end.inputs[0]
        return tuple(reversed(nodes))
