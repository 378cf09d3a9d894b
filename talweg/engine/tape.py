"""The autograd tape: one GradFn per recorded operation, linked to those of its operands.

An operation is one call of a public function; it may consist of several Nodes. Its GradFn keeps the
Nodes of its operands and results, and asks `autodiff.reverse` for the cotangents between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ref

from talweg.autodiff.reverse import vjp
from talweg.base.errors import GradientError
from talweg.base.source import Source, describe
from talweg.ir.build import Builder
from talweg.ir.node import Node, topological
from talweg.ops.kinds import View

if TYPE_CHECKING:
    from talweg.engine.tensor import Storage, Tensor

Edge: TypeAlias = "tuple[GradFn, int] | None"
Hook: TypeAlias = "Callable[[Tensor], Tensor | None]"

_sequence = itertools.count()
_NONE: dict[int, Any] = {}

FREED = (
    "Trying to backward through the graph a second time: the values saved by {name} were freed by "
    "the first backward() or grad(). Pass retain_graph=True to the first call to keep them"
)


class GradFn:
    """One step of the tape, from the cotangents of its results to those of its operands.

    Attributes:
        edges: for each operand, the GradFn and result number it came from; None where no gradient
            is wanted.
        order: grows with time; every edge points to a smaller one.
        hooks: for each result number, what runs on its cotangent.
        retained: results whose cotangent, after the hooks, is added to their `grad`.
    """

    __slots__ = (
        "__weakref__",
        "edges",
        "hooks",
        "metadata",
        "order",
        "outer_hooks",
        "pre_hooks",
        "retained",
    )

    def __init__(self, edges: tuple[Edge, ...]) -> None:
        self.edges = edges
        self.order = next(_sequence)
        self.hooks: dict[int, dict[int, Hook]] = _NONE
        self.outer_hooks: dict[int, Callable[..., Any]] = _NONE
        self.pre_hooks: dict[int, Callable[..., Any]] = _NONE
        self.metadata: dict[Any, Any] | None = None
        self.retained: tuple[ref[Tensor], ...] = ()

    def name(self) -> str:
        """Return the name PyTorch gives such a step, like `MulBackward0`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """The steps that receive this step's results; (None, 0) where no gradient is wanted."""
        return tuple((None, 0) if edge is None else edge for edge in self.edges)

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        """Return one cotangent per edge.

        Args:
            b: makes the Nodes.
            cotangents: one per result; None counts as zero.
            tape: with create_graph, the edge of every cotangent; new ones are entered.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Free the saved values; a second pass raises GradientError."""

    @property
    def released(self) -> bool:
        """Whether the saved values were freed."""
        return False

    def register_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(grad_inputs, grad_outputs)` after this step; it may return new grad_inputs."""
        if not self.outer_hooks:
            self.outer_hooks = {}
        return Removable(self.outer_hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(grad_outputs)` before this step; it may return new grad_outputs."""
        if not self.pre_hooks:
            self.pre_hooks = {}
        return Removable(self.pre_hooks, hook)

    def hooks_of(self, index: int) -> dict[int, Hook]:
        """Return the table of hooks on the cotangent of one result."""
        if not self.hooks:
            self.hooks = {}
        return self.hooks.setdefault(index, {})


class Removable:
    """What registering a hook returns: `remove()` takes the hook away again."""

    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks = hooks
        self.id = next(_sequence)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Recorded(GradFn):
    """The step of an operation made of Nodes.

    Args:
        edges: one per operand.
        inputs: Nodes of the operands as they were.
        outputs: Nodes of the results.
        saved: storages of the operands, whose versions are compared when the values are needed.
        source: the user's line.
    """

    __slots__ = ("inputs", "outputs", "saved", "source")

    def __init__(
        self,
        edges: tuple[Edge, ...],
        inputs: tuple[Node, ...],
        outputs: tuple[Node, ...],
        saved: list[tuple[Node, Storage, int]] | None = None,
        source: Source | None = None,
    ) -> None:
        self.edges = edges
        self.order = next(_sequence)
        self.hooks = self.outer_hooks = self.pre_hooks = _NONE
        self.metadata = None
        self.retained = ()
        self.inputs: tuple[Node, ...] | None = inputs
        self.outputs = outputs
        self.saved = [] if saved is None else saved
        self.source = source

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        inputs = self.inputs
        if inputs is None:
            raise GradientError(
                FREED.format(name=self.name()) + f"\n  recorded at {describe(self.source)}"
            )
        b.source = self.source
        results = vjp(b, self.outputs, inputs, cotangents)
        for node, storage, version in self.saved:
            if storage.version != version:
                self._check_unread(node, storage, version, results, cotangents)
        if tape is not None:
            self._record(inputs, cotangents, results, tape)
        return results

    def _record(
        self,
        inputs: tuple[Node, ...],
        cotangents: list[Node | None],
        results: Sequence[Node | None],
        tape: dict[Node, Edge],
    ) -> None:
        given = [ct for ct in cotangents if ct is not None]
        made = tuple(dict.fromkeys(r for r in results if r is not None))
        edges = (*self.edges, *(tape.get(ct) for ct in given))
        if not any(edges):
            return
        step = backward_class(self.name().removesuffix("0"), "")(
            edges, (*inputs, *given), made, self.saved, self.source
        )
        for i, node in enumerate(made):
            tape[node] = (step, i)

    def _check_unread(
        self,
        saved: Node,
        storage: Storage,
        version: int,
        results: Sequence[Node | None],
        cotangents: list[Node | None],
    ) -> None:
        forward = set(topological(self.outputs, stop=self.inputs or ()))
        forward.update(self.inputs or ())
        stack = [r for r in results if r is not None]
        seen = {c for c in cotangents if c is not None}
        while stack:
            node = stack.pop()
            while node in forward and isinstance(node.op, View) and node is not saved:
                node = node.inputs[0]
            if node is saved:
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [{node.type!r}], used by {self.name()}, is at version "
                    f"{storage.version}; expected version {version} instead. Use the out-of-place "
                    "form, or clone() the value before it is changed"
                    f"\n  recorded at {describe(self.source)}"
                )
            if node in seen or node in forward:
                continue
            seen.add(node)
            stack.extend(node.inputs)

    def release(self) -> None:
        self.inputs = None
        self.outputs = ()
        self.saved = []

    @property
    def released(self) -> bool:
        return self.inputs is None


@cache
def backward_class(function: str, suffix: str = "0") -> type[Recorded]:
    """Return the class of a function's steps, named as PyTorch names them: add -> AddBackward0."""
    words = function.strip("_").split("_")
    name = "".join(w[:1].upper() + w[1:] for w in words)
    if not name.endswith("Backward"):
        name += "Backward"
    return type(name + suffix, (Recorded,), {"__slots__": ()})
