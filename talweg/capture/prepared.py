"""Programs that are run by addresses: nothing is looked up, one foreign call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from sys import getrefcount
from typing import Any, Literal, NamedTuple, final

import numpy as np

from talweg.base.errors import IndexOutOfRange, located
from talweg.base.source import describe
from talweg.capture.outcome import Write
from talweg.engine.barrier import evaluate
from talweg.engine.program import Program
from talweg.engine.tensor import Tensor, wrap
from talweg.ir.node import Node, input_node
from talweg.ir.types import TensorType
from talweg.passes.places import OUTPUT
from talweg.runtime.buffer import Buffer, address_of
from talweg.runtime.executor import Executor

_address_of = attrgetter("value.address")
_at = attrgetter("address")
_TENSORS = ("value", "storage")


class Given(NamedTuple):
    """An input of the function.

    Args:
        kind: the value of a Tensor, the value of its storage, a number, or a constant.
        value: the number of the Tensor among the sources; of the number among those wanted; or the
            Node of the constant.
        type: of the value.
    """

    kind: Literal["value", "storage", "number", "constant"]
    value: Any
    type: TensorType


@final
class Prepared:
    """A Program that is given addresses: one Executor, all of whose outputs are new memory.

    Args:
        executor: runs it.
        sources: how many Tensors there are.
        picks: for each address it takes, where it stands among those of the sources and constants.
        constants: Nodes.
        pack: turns its scalars into bytes.
        scalars: those that are constant, and None in the places of the others.
        numbers: these places, and which number goes there.
        sizes: of the outputs, in bytes.
        reused: sources, and the outputs that may take their memory.

    Attributes:
        direct: whether it takes the addresses of the sources and constants in their order.
        packed: the scalars, where all are constant.
    """

    __slots__ = (
        *("_count", "_kept", "_numbers", "_pack", "_pick", "_reused", "_scalars"),
        *("constants", "direct", "executor", "packed", "sizes"),
    )

    def __init__(
        self,
        executor: Executor | None,
        sources: int,
        picks: Sequence[int],
        constants: Sequence[Node],
        pack: Callable[..., bytes],
        scalars: Sequence[Any],
        numbers: Sequence[tuple[int, int]],
        sizes: Sequence[int],
        reused: Sequence[tuple[int, int]],
    ) -> None:
        self.executor = executor
        self._kept = constants
        self.constants = [address_in(n) for n in constants]
        self.direct = list(picks) == [*range(sources + len(constants))]
        self._pick = (
            None if self.direct else itemgetter(*picks, 0, 0) if sources or constants else None
        )
        self._count = len(picks)
        self._pack = pack
        self._scalars = list(scalars)
        self._numbers = numbers
        self.packed = b"" if numbers else pack(*scalars)
        self.sizes = sizes
        self._reused = reused

    def run(self, nodes: Sequence[Node], numbers: Sequence[Any]) -> list[Buffer]:
        """Return the outputs for the values of some Nodes."""
        try:
            addresses = [*map(_address_of, nodes)]
        except AttributeError:
            addresses = [address_in(n) for n in nodes]
        if self.constants:
            addresses += self.constants
        picked: Sequence[int] = addresses
        if self._pick is not None:
            picked = self._pick(addresses)[: self._count]
        packed = self.packed
        if self._numbers:
            scalars = self._scalars.copy()
            for place, i in self._numbers:
                scalars[place] = numbers[i]
            packed = self._pack(*scalars)
        buffers = [*map(Buffer, self.sizes)] if not self._reused else self._buffers(nodes)
        if self.executor is not None:
            self.executor.run(picked, packed, [*map(_at, buffers)])
        return buffers

    def _buffers(self, nodes: Sequence[Node]) -> list[Buffer]:
        """New memory for the outputs, but the old one where nobody else can see it."""
        buffers: list[Any] = [None] * len(self.sizes)
        for source, output in self._reused:
            node = nodes[source]
            buffer = node.value
            if buffer.__class__ is not Buffer or not buffer.owned:
                continue
            if getrefcount(node) == _NODE and getrefcount(buffer) == _BUFFER:
                buffers[output] = buffer
        return [Buffer(n) if b is None else b for b, n in zip(buffers, self.sizes, strict=True)]


# References to the value of a storage while a program is about to run on it: the Node by the
# storage, the list of all, the local variable and getrefcount; the memory by all but the list.
_NODE, _BUFFER = 4, 3


@final
class Quick:
    """A function of Tensors only, without gradients, whose one result is all that it leaves behind.

    Args:
        tests: for each argument its class and type.
        prepared: computes the result.
        type: of the result.
    """

    __slots__ = ("_constants", "_packed", "_run", "_size", "_tests", "_type")

    def __init__(
        self, tests: Sequence[tuple[Any, TensorType]], prepared: Prepared, type: TensorType
    ) -> None:
        self._tests = tests
        executor = prepared.executor
        assert executor is not None
        self._run = executor.run
        self._constants = prepared.constants
        self._packed = prepared.packed
        (self._size,) = prepared.sizes
        self._type = type

    def run(self, leaves: Sequence[Tensor]) -> Tensor | None:
        """Return the result, or None where some argument has to be looked at more closely.

        Raises:
            IndexOutOfRange: as the function does.
        """
        addresses: list[int] = []
        for t, (kind, type) in zip(leaves, self._tests, strict=False):
            if t.__class__ is not kind or t._view is not None or t._edge is not None:
                return None
            node = t._storage.node
            value = node.value
            if node.type is not type or value.__class__ is not Buffer:
                return None
            addresses.append(value.address)
        if self._constants:
            addresses += self._constants
        buffer = Buffer(self._size)
        self._run(addresses, self._packed, (buffer.address,))
        return wrap(input_node(self._type, buffer))


def prepared(
    program: Program,
    given: Sequence[Given],
    inputs: Sequence[int],
    sources: int,
    writes: Sequence[Write],
) -> Prepared | None:
    """Return the fast form of a Program; None where it has none.

    Args:
        program: what is run.
        given: the inputs of the function.
        inputs: for each input of the program, its number among those.
        sources: how many Tensors there are.
        writes: which of them get a new value: that may take the memory of the old one.
    """
    if not program.whole or any(p.kind != OUTPUT for p in program.outline.results):
        return None
    constants: list[Node] = []
    picks: list[int] = []
    scalars: list[Any] = []
    numbers: list[tuple[int, int]] = []
    for i, scalar in zip(inputs, program.scalars, strict=True):
        kind, value, _ = given[i]
        if kind == "number":
            if not scalar:
                return None
            numbers.append((len(scalars), value))
            scalars.append(None)
        elif scalar:
            scalars.append(value.value)
        elif kind == "constant":
            picks.append(sources + len(constants))
            constants.append(value)
        else:
            picks.append(value)
    order = [p.at for p in program.outline.results]
    if order != [*range(len(program.outline.buffers))]:
        return None
    sizes = [t.nbytes for t in program.outline.buffers]
    rows = [given[i] for i in inputs]
    taken = {(rows[i].value, j) for i, j in program.outline.in_place if rows[i].kind in _TENSORS}
    reused = [(w.source, w.output) for w in writes if (w.source, w.output) in taken]
    return Prepared(
        *(program.sole_executor, sources, picks, constants, program.pack, scalars, numbers, sizes),
        reused,
    )


def address_in(node: Node) -> int:
    """Return where the value of a Node lies, computing it first where it is not known."""
    if node.value is None:
        evaluate([node])
    value = node.value
    if value.__class__ is Buffer:
        found: int = value.address
        return found
    array = node.array
    assert array is not None, "evaluate leaves a value"
    if not array.flags.c_contiguous:
        node.array = array = np.ascontiguousarray(array)
    return address_of(array)


def at_its_line(error: IndexOutOfRange) -> Exception:
    """Return the error of a failed check with the line that recorded the operation."""
    owners = getattr(getattr(error, "label", None), "owners", ())
    check = getattr(error, "check", -1)
    if not 0 <= check < len(owners):
        return error
    return located(error, describe(owners[check].source))
