"""The autograd tape: one GradFn per recorded operation, linked to those of its operands.

An operation is one call of a public function; it may consist of several Nodes. Its GradFn keeps the
Nodes of its operands and results, and asks `autodiff.reverse` for the cotangents between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, Self, TypeAlias, TypeVar, final
from weakref import ref

from talweg.autodiff.reverse import vjp
from talweg.base.errors import GradientError
from talweg.base.source import Source, describe
from talweg.engine.known import Reverse
from talweg.engine.state import STATE
from talweg.engine.steps import ORDERS, saved_properties, step_name
from talweg.ir.build import Builder
from talweg.ir.node import Node, topological
from talweg.ir.rule import Rule
from talweg.ops.kinds import View

if TYPE_CHECKING:
    from talweg.engine.tensor import Storage, Tensor

# Where a cotangent goes: result 0 of a step, or the step and the number of its result.
Edge: TypeAlias = "GradFn | tuple[GradFn, int] | None"
_Layout = TypeVar("_Layout", bound="Step")
# Where nothing goes to the left and right, where nothing has arrived, and whether both are one.
Ends: TypeAlias = tuple[bool, bool, bool, bool, bool]
Hook: TypeAlias = "Callable[[Tensor], Tensor | None]"

# Steps take every second number: the one below is for the leaves they read.
clock = itertools.count(1, 2)
_numbers = itertools.count()

FREED = (
    "Trying to backward through the graph a second time: the values saved by {name} were freed by "
    "the first backward() or grad(). Pass retain_graph=True to the first call to keep them"
)


def _shown(edge: Edge) -> tuple[GradFn | None, int]:
    step, index = end_of(edge)
    return None if step is None else step.shown(), index


def end_of(edge: Edge) -> tuple[GradFn | None, int]:
    """Return the step at the end of an edge and the number of its result; None where none is."""
    return edge if isinstance(edge, tuple) else (edge, 0)


@final
class Watch:
    """What users attached to a step of the tape.

    Attributes:
        hooks: for each result number, what runs on its cotangent.
        outer: what runs after the step.
        before: what runs before it.
        retained: results whose cotangent, after the hooks, is added to their `grad`.
        metadata: whatever else.
    """

    __slots__ = ("before", "hooks", "metadata", "outer", "retained")

    def __init__(self) -> None:
        self.hooks: dict[int, dict[int, Hook]] = {}
        self.outer: dict[int, Callable[..., Any]] = {}
        self.before: dict[int, Callable[..., Any]] = {}
        self.retained: tuple[ref[Tensor], ...] = ()
        self.metadata: dict[Any, Any] = {}


class GradFn:
    """One step of the tape, from the cotangents of its results to those of its operands.

    Attributes:
        order: grows with time; every edge points to a smaller one.
        watch: hooks and the like, or None.
        whole: the `passes` at which this step and all below it had their saved values; unset
            before it was asked.
        passes: grows whenever a pass may have freed saved values.
    """

    __slots__ = ("__weakref__", "order", "watch", "whole")

    order: int
    watch: Watch | None
    whole: int
    passes: ClassVar[int] = 0

    def __init__(self) -> None:
        self.order = next(clock)
        self.watch = None

    @property
    def edges(self) -> tuple[Edge, ...]:
        """For each operand, where its cotangent goes; None where no gradient is wanted."""
        return ()

    def name(self) -> str:
        """Return the name PyTorch gives such a step, like `MulBackward0`."""
        return type(self).__name__

    def shown(self) -> Self:
        """Return this step as users see it: its class has its name."""
        return self

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """The steps that receive this step's results; (None, 0) where no gradient is wanted."""
        ends = tuple(map(_shown, self.edges))
        order = ORDERS.get(type(self).__name__.partition("Backward")[0], ())
        return tuple(ends[i] for i in order) if len(order) == len(ends) else ends

    @property
    def source(self) -> Source | None:
        """The user's line."""
        return None

    @property
    def width(self) -> int:
        """The number of results."""
        return 1

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

    def let_go(self) -> None:
        """Free the saved values and the way to earlier steps."""
        self.release()

    @property
    def released(self) -> bool:
        """Whether the saved values were freed."""
        return False

    @property
    def watched(self) -> Watch:
        """What is attached to this step, for adding to it."""
        if self.watch is None:
            self.watch = Watch()
        return self.watch

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dict for whatever a program wants to note about this step."""
        return self.watched.metadata

    def register_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(grad_inputs, grad_outputs)` after this step; it may return new grad_inputs."""
        return Removable(self.watched.outer, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(grad_outputs)` before this step; it may return new grad_outputs."""
        return Removable(self.watched.before, hook)

    def hooks_of(self, index: int) -> dict[int, Hook]:
        """Return the table of hooks on the cotangent of one result."""
        return self.watched.hooks.setdefault(index, {})


class CallStep(GradFn):
    """A step that stands for a whole call: it is told where cotangents go, by whom and how many.

    Args:
        edges: for each operand, where its cotangent goes.
        source: the user's line.
        width: the number of results.
    """

    __slots__ = ("_edges", "_source", "_width")

    def __init__(self, edges: tuple[Edge, ...], source: Source | None, width: int) -> None:
        super().__init__()
        self._edges = edges
        self._source = source
        self._width = width

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self._edges

    @property
    def source(self) -> Source | None:
        return self._source

    @property
    def width(self) -> int:
        return self._width


class Removable:
    """What registering a hook returns: `remove()` takes the hook away again."""

    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks = hooks
        self.id = next(clock)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Step(GradFn):
    """The step of an operation made of Nodes."""

    __slots__ = ()

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The Nodes of the operands as they were, one for each edge."""
        return ()

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The Nodes of the results."""
        return ()

    @property
    def nodes(self) -> tuple[Node, ...] | None:
        """The Nodes between them in order, where that is known."""
        return None

    @property
    def saved(self) -> list[tuple[Node, Storage]]:
        """Operands and results with their storages: who writes there may spoil the gradient."""
        return []

    @property
    def since(self) -> int:
        """The time since which writes count."""
        return self.order

    def forget(self, storage: Storage) -> None:
        """Let writes to a storage happen."""

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        if self.released:
            self.refuse()
        inputs = self.inputs
        b.source = self.source
        results = self.cotangents(b, cotangents)
        self.check_writes(results, cotangents)
        if tape is not None:
            self._record(inputs, cotangents, results, tape)
        return results

    def cotangents(self, b: Builder, given: list[Node | None]) -> list[Node | None]:
        """Return the cotangents of the operands from those of the results."""
        return vjp(b, self.outputs, self.inputs, given, self.nodes)

    @property
    def width(self) -> int:
        return len(self.outputs)

    def refuse(self) -> NoReturn:
        """Raise GradientError: the saved values were freed."""
        raise GradientError(
            FREED.format(name=self.name()) + f"\n  recorded at {describe(self.source)}"
        )

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
        make = backward_class(self.name().removesuffix("0"), "")
        step = make(edges, (*inputs, *given), made, source=self.source)
        step.rows, step.time = self.saved, self.since
        for i, node in enumerate(made):
            tape[node] = (step, i) if i else step

    def check_writes(
        self, results: Sequence[Node | None], cotangents: Sequence[Node | None]
    ) -> None:
        """Raise GradientError when cotangents read what was overwritten since the recording."""
        for node, storage in self.saved:
            if storage.writes is not None and storage.writes.last > self.since:
                self._check_unread(node, storage, results, cotangents)

    def _check_unread(
        self,
        saved: Node,
        storage: Storage,
        results: Sequence[Node | None],
        cotangents: Sequence[Node | None],
    ) -> None:
        forward = set(topological(self.outputs, stop=self.inputs))
        forward.update(self.inputs)
        wanted = zip(results, self.edges, strict=True)
        stack = [r for r, edge in wanted if r is not None and edge is not None]
        seen = {c for c in cotangents if c is not None}
        while stack:
            node = stack.pop()
            while node in forward and isinstance(node.op, View) and node is not saved:
                node = node.inputs[0]
            if node is saved:
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [{node.type!r}], used by {self.name()}, is at version "
                    f"{storage.version}; expected version {storage.version_at(self.since)} "
                    "instead. Use the out-of-place form, or clone() the value before it is changed"
                    f"\n  recorded at {describe(self.source)}"
                )
            if node in seen or node in forward:
                continue
            seen.add(node)
            stack.extend(node.inputs)


class Recorded(Step):
    """The step of an operation made of any Nodes.

    Args:
        edges: one per operand.
        inputs: Nodes of the operands as they were.
        outputs: Nodes of the results.
        nodes: all Nodes made between them, in order; found by walking where not given.
        source: the user's line.

    Attributes:
        rows: what `saved` gives.
        time: what `since` gives.
        reverse: the gradients of its kind, if that is known.
    """

    __slots__ = ("_edges", "_inputs", "_nodes", "_outputs", "_source", "reverse", "rows", "time")

    def __init__(
        self,
        edges: tuple[Edge, ...],
        inputs: tuple[Node, ...],
        outputs: tuple[Node, ...],
        nodes: tuple[Node, ...] | None = None,
        source: Source | None = None,
    ) -> None:
        self.order = self.time = next(clock)
        self.watch = None
        self._edges = edges
        self._inputs: tuple[Node, ...] | None = inputs
        self._nodes = nodes
        self._outputs = outputs
        self._source = source
        self.rows: list[tuple[Node, Storage]] = []
        self.reverse: Reverse | None = None

    @property
    def source(self) -> Source | None:
        return self._source

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self._edges

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self._inputs or ()

    @property
    def outputs(self) -> tuple[Node, ...]:
        return self._outputs

    @property
    def nodes(self) -> tuple[Node, ...] | None:
        return self._nodes

    @property
    def saved(self) -> list[tuple[Node, Storage]]:
        return self.rows

    @property
    def since(self) -> int:
        return self.time

    def cotangents(self, b: Builder, given: list[Node | None]) -> list[Node | None]:
        if self.reverse is None or STATE.now.capture is not None:
            return super().cotangents(b, given)
        return self.reverse.cotangents(b, self, given)

    def forget(self, storage: Storage) -> None:
        self.rows = [row for row in self.rows if row[1] is not storage]

    def release(self) -> None:
        self._inputs = self._nodes = None
        self._outputs = ()
        self.rows = []

    def let_go(self) -> None:
        self.release()
        self._edges = ()

    @property
    def released(self) -> bool:
        return self._inputs is None


@final
class Rules(dict[Ends, "Rule | Literal[False]"]):
    """The gradients of one operation on operands of the same types, see `stretch.py`.

    Args:
        function: its name.
        takes: which inputs of its Node are operands; another is a number.

    Attributes:
        takes: as given.
        named: the class of its steps, for users.
        number: no others have it.
    """

    __slots__ = ("named", "number", "takes")

    def __init__(self, function: str, takes: tuple[int, ...]) -> None:
        self.takes = takes
        self.named: type[Direct] = _named(function, "0", Direct)
        self.number = next(_numbers)


class Direct(Step):
    """The step of an operation that is one Node with one or two operands.

    All are of this class until somebody looks at them: what makes them and goes through them meets
    one class, whose attributes the interpreter then finds without asking.

    Attributes:
        node: its Node; None when it was freed.
        left, right: where the cotangents of the Node's first and second input go.
        first, second, result: the storages of the operands and of the result.
        code, offset: the user's line.
        rules: gradients of such Nodes.
    """

    __slots__ = ("code", "first", "left", "node", "offset", "result", "right", "rules", "second")

    node: Node | None
    left: Edge
    right: Edge
    first: Storage | None
    second: Storage | None
    result: Storage | None
    code: CodeType | None
    offset: int
    rules: Rules

    def name(self) -> str:
        return self.rules.named.__name__

    def shown(self) -> Self:
        self.__class__ = self.rules.named  # type: ignore[assignment]
        return self

    @property
    def edges(self) -> tuple[Edge, ...]:
        both = (self.left, self.right)
        return both[:1] if both[0] is both[1] else tuple(both[i] for i in self.rules.takes)

    @property
    def inputs(self) -> tuple[Node, ...]:
        if self.node is None:
            return ()
        return tuple(dict.fromkeys(self.node.inputs[i] for i in self.rules.takes))

    @property
    def outputs(self) -> tuple[Node, ...]:
        return () if self.node is None else (self.node,)

    @property
    def nodes(self) -> tuple[Node, ...] | None:
        return self.outputs

    @property
    def source(self) -> Source | None:
        return None if self.code is None else (self.code, self.offset)

    @property
    def saved(self) -> list[tuple[Node, Storage]]:
        if self.node is None:
            return []
        storages = (self.first, self.second)
        rows = [(self.node.inputs[i], storages[i]) for i in self.rules.takes]
        return [(n, s) for n, s in (*rows, (self.node, self.result)) if s is not None]

    def forget(self, storage: Storage) -> None:
        if self.first is storage:
            self.first = None
        if self.second is storage:
            self.second = None

    def release(self) -> None:
        self.node = self.first = self.second = self.result = None

    def let_go(self) -> None:
        self.release()
        self.left = self.right = None

    @property
    def released(self) -> bool:
        return self.node is None


def backward_class(function: str, suffix: str = "0") -> type[Recorded]:
    """Return the class of a function's steps, named as PyTorch names them: add -> AddBackward0."""
    return _named(function, suffix, Recorded)


@cache
def _named(function: str, suffix: str, layout: type[_Layout]) -> type[_Layout]:
    name = step_name(function) + suffix
    return type(name, (layout,), {"__slots__": (), **saved_properties(name)})
