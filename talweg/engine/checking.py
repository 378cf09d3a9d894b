"""Results compared with the references, kernel by kernel: what `TALWEG_CHECK=1` switches on.

Every kernel is run on its own, and the reference of its Nodes on the same operands, so errors do
not add up from kernel to kernel and the one at fault is found. Then the kernels are run again as a
whole, which must give the same bits.

Rounding decides what may differ. Where a result is not near enough at first sight, the reference is
run several times with the results of its Ops changed at random as rounding might have changed them
(stochastic arithmetic: D. S. Parker, Monte Carlo Arithmetic, 1997). What a kernel finds must lie
within what these runs find, widened once by their spread. So an Op near a jump, or a difference of
nearly equal numbers, gets the tolerance that it needs, and no more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import IndexOutOfRange, WrongResult
from talweg.base.shapes import inverse_order
from talweg.base.source import describe
from talweg.engine.watch import Watcher
from talweg.ir.interpret import interpret, run
from talweg.ir.node import Graph, Node
from talweg.ir.types import TensorType
from talweg.ops.kinds import (
    Contract,
    Elementwise,
    Gather,
    Reduce,
    Scan,
    Scatter,
    View,
    Window,
)
from talweg.passes.plan import Launch
from talweg.runtime.buffer import Buffer

RUNS = 16
"""How often a reference is run with errors of rounding: in pairs of opposite errors."""

_SELECTING = frozenset(
    (
        *("reduce_max", "reduce_min", "arg_max", "arg_min", "window_max", "window_arg_max"),
        *("window_max_grad", "window_unpool", "put_at", "put_along", "max_along", "min_along"),
        *("cum_arg_max", "cum_arg_min", "arg_sort"),
    )
)
_FEW = 4.0  # units of rounding that an Op may be off which states no tolerance


def operands_of(launch: Launch, addresses: Sequence[int]) -> list[np.ndarray]:
    """Return the operands of a running launch in stored form: its memory, which must outlive them.

    Args:
        launch: the kernel.
        addresses: where its operands lie.
    """
    rows = zip(addresses, launch.meant, launch.orders, strict=True)
    return [_array_at(address, node.type, order) for address, node, order in rows]


def _array_at(address: int, type: TensorType, order: Sequence[int] | None) -> np.ndarray:
    memory = memoryview((ctypes.c_char * type.nbytes).from_address(address))
    if order is None:
        return np.ndarray(type.shape, type.dtype.storage, memory)
    stored = np.ndarray([type.shape[a] for a in order], type.dtype.storage, memory)
    return stored.transpose(inverse_order(order))


@final
@dataclass(eq=False)
class _Expected:
    """What the references make of the operands of a launch."""

    graph: Graph
    operands: list[np.ndarray]
    results: list[np.ndarray]


@final
class Checker(Watcher):
    """Compares every kernel that runs with the references.

    Raises:
        WrongResult: from whatever had values computed.
    """

    stepwise = True

    def launching(self, launch: Launch, operands: Sequence[int]) -> Any:
        graph = launch.graph
        arrays = [a.copy() for a in operands_of(launch, operands)[: len(graph.inputs)]]
        try:
            return _Expected(graph, arrays, interpret(graph, arrays))
        except IndexOutOfRange as error:
            return error

    def launched(
        self, launch: Launch, operands: Sequence[int], note: Any, start: int, spent: int
    ) -> None:
        if isinstance(note, IndexOutOfRange):
            raise WrongResult(
                f"the kernel {launch.nest.name} finds nothing wrong where its reference does: "
                f"{note}"
            )
        found = operands_of(launch, operands)[len(note.operands) :]
        compare(launch, note.graph, note.operands, note.results, found)

    def ran(self, again: Any, outputs: Sequence[Buffer]) -> None:
        before = [bytes(_bytes_of(b)) for b in outputs]
        again()
        for number, (buffer, kept) in enumerate(zip(outputs, before, strict=True)):
            if bytes(_bytes_of(buffer)) != kept:
                raise WrongResult(
                    f"output {number} of a plan is different when its kernels run one by one and "
                    "when they run as a whole"
                )


def _bytes_of(buffer: Buffer) -> memoryview:
    return memoryview((ctypes.c_char * buffer.nbytes).from_address(buffer.address))


def compare(
    launch: Launch,
    graph: Graph,
    operands: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
) -> None:
    """Compare what a kernel wrote with what the references say.

    Args:
        launch: the kernel.
        graph: from its operands to its results.
        operands: in stored form, as they were before it ran.
        expected, found: one array in stored form for each output of the Graph.

    Raises:
        WrongResult: naming the kernel, the Node, its line, the worst element and both values.
    """
    runs: list[list[np.ndarray]] | None = None
    for number, node in enumerate(graph.outputs):
        want, got = (_parts(a[number], node.dtype) for a in (expected, found))
        wrong = _differs(want, got)
        if not wrong.any():
            continue
        if node.dtype.is_inexact:
            wrong &= ~_is_near(want, got, graph, node, launch)
        if wrong.any() and _rounds(graph):
            runs = runs or [_rounded_run(graph, operands, seed, launch) for seed in range(RUNS)]
            wrong &= ~_is_within([want, *(_plain(r[number]) for r in runs)], got, node.dtype)
        if wrong.any():
            raise _error(launch, node, number, want, got, wrong)


def _rounds(graph: Graph) -> bool:
    return any(_is_inexact(n) for n in (*graph.inputs, *graph.order))


def _is_inexact(node: Node) -> bool:
    type: Any = node.type
    return isinstance(type, TensorType) and type.dtype.is_inexact


def _parts(array: np.ndarray, dtype: DType) -> np.ndarray:
    return _plain(dtypes.decode(array, dtype))


def _plain(array: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs; booleans and halves as numbers with room."""
    if array.dtype.kind == "c":
        real = array.real.dtype
        return np.ascontiguousarray(array).reshape(*array.shape, 1).view(real)
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _differs(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    same = want == got
    if want.dtype.kind == "f":
        same |= np.isnan(want) & np.isnan(got)
    return np.asarray(~same)


def unit_of(dtype: DType) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    if dtype is dtypes.bfloat16:
        return 2.0**-7
    return float(np.finfo(dtype.compute).eps)


def _is_near(
    want: np.ndarray, got: np.ndarray, graph: Graph, node: Node, launch: Launch
) -> np.ndarray:
    """Whether values differ by no more than their Ops may be off, sums by their length."""
    unit = unit_of(node.dtype)
    units = sum(getattr(n.op, "tolerance", _FEW) for n in graph.order if not _moves(n))
    length = max((_length(n, launch) for n in graph.order), default=0)
    with np.errstate(all="ignore"):
        size = np.abs(want.astype(np.float64))
        allowed = unit * units * size
        if length:
            finite = size[np.isfinite(size)]
            typical = float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
            allowed = allowed + 6 * unit * length**0.5 * typical
        near = np.abs(want.astype(np.float64) - got) <= allowed + _tiny(node.dtype)
    return np.asarray(near)


def _tiny(dtype: DType) -> float:
    """Numbers below this are not expected to be right: machines may take them for zero."""
    return 4 * float(np.finfo(np.float32 if dtype.bits < 32 else dtype.compute).tiny)


def _moves(node: Node) -> bool:
    """Whether an Op takes elements as they are."""
    return isinstance(node.op, View | Gather) or node.op.name() in _SELECTING


def _length(node: Node, launch: Launch) -> int:
    """How many terms make an element of a sum or product; 0 where nothing is accumulated."""
    op: Any = node.op
    if not isinstance(op, Reduce | Contract | Window | Scan | Scatter) or _moves(node):
        return 0
    if isinstance(op, Scan):
        return int(node.shape[op.axis])
    if isinstance(op, Scatter):
        return max(node.inputs[-1].shape, default=1)
    if isinstance(op, Reduce):
        return node.inputs[0].type.size // max(node.type.size, 1) + 1
    size = getattr(node.type, "size", 1)
    return launch.operations // max(2 * size, 1) + 1


@final
class _Rounding:
    """Errors of rounding, drawn at random: those of an odd number are opposite to the one before.

    Their size varies, as large errors never find what needs small ones, such as a tie.
    """

    def __init__(self, number: int) -> None:
        self._random = np.random.default_rng(number // 2)
        self._size = (-1) ** number * 0.5 ** (number // 2 % 3)
        self.ties = number % 2 == 1

    def of(self, array: np.ndarray, by: float) -> np.ndarray:
        """Return the array with every element changed by at most so much of its size."""
        if array.dtype.kind not in "fc":
            return array
        noise = self._random.uniform(-by, by, (2, *array.shape)) * self._size
        error = noise[0] + 1j * noise[1] if array.dtype.kind == "c" else noise[0]
        with np.errstate(all="ignore"):
            changed = array + np.where(np.isfinite(array), np.abs(array), 0) * error
        return np.asarray(changed).astype(array.dtype)


def _rounded_run(
    graph: Graph, operands: Sequence[np.ndarray], number: int, launch: Launch
) -> list[np.ndarray]:
    """Run the references with the error of rounding of every Op drawn at random."""
    rounding = _Rounding(number)
    values: dict[Node, Any] = {
        n: dtypes.decode(a, n.dtype) for n, a in zip(graph.inputs, operands, strict=True)
    }
    for node in graph.order:
        inputs = [values[i] for i in node.inputs]
        length = _length(node, launch)
        if length:
            inputs = [
                rounding.of(x, unit_of(_accumulated(n.dtype)) * length / 2)
                for x, n in zip(inputs, node.inputs, strict=True)
            ]
        if rounding.ties and node.op.name() in ("eq", "ne") and node.inputs[0].dtype.is_inexact:
            inputs = _tied(inputs, unit_of(node.inputs[0].dtype) * _FEW)
        result = run(node, inputs)
        if _is_inexact(node) and not _moves(node):
            units = getattr(node.op, "tolerance", _FEW) if isinstance(node.op, Elementwise) else 1.0
            result = rounding.of(result, unit_of(node.dtype) * units)
        values[node] = result
    return [values[o] for o in graph.outputs]


def _tied(operands: Sequence[np.ndarray], by: float) -> list[np.ndarray]:
    """Two operands, equal where rounding may make them so."""
    x, y = operands
    with np.errstate(all="ignore"):
        near = np.abs(x - y) <= by * np.maximum(np.abs(x), np.abs(y))
    return [x, np.where(near, x, y)]


def _accumulated(dtype: DType) -> DType:
    """Half types are summed up in float32."""
    return dtypes.float32 if dtype.is_inexact and dtype.bits < 32 else dtype


def _is_within(runs: Iterable[np.ndarray], got: np.ndarray, dtype: DType) -> np.ndarray:
    """Whether values lie within what the runs found, widened once by its spread."""
    found = np.stack([np.asarray(r, np.float64) for r in runs])
    with np.errstate(all="ignore"):
        nan = np.isnan(found).any(0)
        found = np.where(np.isnan(found), found[0], found)
        low, high = found.min(0), found.max(0)
        spread = high - low
        if dtype.is_inexact:
            spread = spread + _tiny(dtype) + unit_of(dtype) * np.abs(high)
        within = (got >= low - spread) & (got <= high + spread)
        within |= ((got == low) | (got == high)) | (nan & np.isnan(got))
    return np.asarray(within)


def _error(
    launch: Launch,
    node: Node,
    number: int,
    want: np.ndarray,
    got: np.ndarray,
    wrong: np.ndarray,
) -> WrongResult:
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64) - want.astype(np.float64))
        off = np.where(np.isnan(off), np.inf, off)
    worst = np.unravel_index(int(np.where(wrong, off, -1).argmax()), wrong.shape)
    at = tuple(int(n) for n in worst)
    return WrongResult(
        f"the kernel {launch.nest.name} is wrong: its output {number}, "
        f"{node.op.name()}: {node.type}, has {got[worst]!s} at {at} where the reference has "
        f"{want[worst]!s}; {int(wrong.sum())} of {wrong.size} elements differ by more than rounding"
        f"\n  recorded at {describe(node.source)}"
    )
