"""Calls of functions on Nodes that are recorded again without the functions.

Functions of `fn` and the rules of gradients look at nothing but types, so a call with operands of
the same types makes the same Nodes again; `ir.template` says what is kept of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, final

from talweg.autodiff.reverse import vjp
from talweg.engine.state import STATE
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.template import Template, learn

_KINDS = 64  # which of the results have cotangents

Nodes: TypeAlias = "list[Node | None]"


class Passed(Protocol):
    """What reverse mode needs to know of a call."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The operands, each once."""

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The results."""

    @property
    def nodes(self) -> tuple[Node, ...] | None:
        """The Nodes made between them, in order."""


@final
class Reverse:
    """The gradients of calls that made the same Nodes of operands of the same types."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Template, tuple[int | None, ...]]] = {}

    def cotangents(self, b: Builder, call: Passed, given: Nodes) -> Nodes:
        """Return the cotangent of each operand, or None where no gradient reaches it.

        Args:
            b: makes the Nodes.
            call: one of these.
            given: one per result; None counts as zero.
        """
        made = call.nodes
        assert made is not None, "what is known was recorded Node by Node"
        values = [*call.inputs, *made, *[ct for ct in given if ct is not None]]
        kind = tuple([None if ct is None else ct.type for ct in given])
        known = self._known.get(kind)
        trace = STATE.now.trace
        if known is not None:
            template, places = known
            template.record(b, values)
            return [None if place is None else values[place] for place in places]
        start = len(trace.nodes)
        results = vjp(b, call.outputs, call.inputs, given, made)
        learned = learn(trace, start, values) if len(self._known) < _KINDS else None
        if learned is not None:
            place_of = {node: i for i, node in enumerate((*values, *learned[1]))}
            places = tuple([None if r is None else place_of[r] for r in results])
            self._known[kind] = (learned[0], places)
        return results


@final
class Known:
    """A kind of call: one function, and operands of the same types.

    Attributes:
        several: the class of the results, a tuple or list; None where that is one Node.
        reverse: the gradients of such calls.
    """

    __slots__ = ("_results", "_template", "reverse", "several")

    def __init__(self, template: Template, results: Sequence[int], several: Any) -> None:
        self._template = template
        self._results = tuple(results)
        self.several = several
        self.reverse = Reverse()

    def record(self, b: Builder, given: Sequence[Node]) -> tuple[Any, list[Node]]:
        """Return what the function returns for these operands, and the Nodes it makes."""
        values = list(given)
        self._template.record(b, values)
        made = values[len(given) :]
        if self.several is None:
            return values[self._results[0]], made
        results = [values[place] for place in self._results]
        return (self.several(*results) if self._named else self.several(results)), made

    @property
    def _named(self) -> bool:
        return hasattr(self.several, "_fields")


def know(start: int, given: Sequence[Node], out: Any) -> tuple[Known, list[Node]] | None:
    """Return what recording a call again takes, and the Nodes it made; None where it cannot be.

    Args:
        start: how many Nodes the trace had before the call.
        given: the operands, each once.
        out: what the function returned.
    """
    outs: Sequence[Any] = (out,) if isinstance(out, Node) else out
    if not isinstance(outs, list | tuple) or not all(isinstance(o, Node) for o in outs):
        return None
    learned = learn(STATE.now.trace, start, given)
    if learned is None:
        return None
    template, made = learned
    places = {node: i for i, node in enumerate((*given, *made))}
    if not all(o in places for o in outs):
        return None
    return Known(template, [places[o] for o in outs], None if outs is not out else type(out)), made
