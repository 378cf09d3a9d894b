"""NestBuilder: what an op's `lower` rule receives as `nest`, and `lower`, which runs the rule.

A rule says what one result element is; the builder makes the loops, names and arguments:

    elementwise   def lower(self, nest, x, y): return nest.maximum(x, y)
    all others    def lower(self, nest, x): return lambda i: x[i[1], i[0]]
    imperative    def lower(self, nest, x): ... nest.store(nest.outputs[0], i, value)

Elementwise operands are Scalars. Others are Operands: `x[i, j]` reads, `x.shape` are Scalars. The
function that a rule returns (a Point) maps the indices of a result element to its value; it may
fold, let and check. Reading an Operand may run another rule's Point: that is fusion.

No size and no number of the user stands in the nest: extents and `nest.number(v)` are arguments,
and `Lowered.values` holds what they were. Structure (axes, strides, window steps) is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import FROM_ZERO, GraphError
from talweg.base.frozen import frozen
from talweg.loops.functions import FUNCTIONS, identity
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Block,
    Buffer,
    Check,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    statements,
)
from talweg.loops.operand import Indices, Operand, Point, Shaped, as_indices, flat, merged, wide
from talweg.loops.scalar import (
    Argument,
    Bitcast,
    Constant,
    Index,
    Load,
    Local,
    Number,
    Numeric,
    Scalar,
    Select,
    call,
    cast,
    constant,
    walk,
)
from talweg.loops.verify import verify

Branch: TypeAlias = Numeric | Callable[[], Scalar]


@final
@frozen
class Lowered:
    """A verified nest, and the values that its arguments had where it was lowered.

    `owners` says for each check of the nest, in the order of the text, for whom it was written.
    """

    nest: LoopNest
    values: dict[str, Number]
    owners: tuple[Any, ...] = ()


class _Scope:
    """What a block being written has: the names bound in it, and the values computed in it.

    A guarded block runs under a condition, and nothing in it may move out.
    """

    def __init__(self, names: Iterable[str] = (), guarded: bool = False) -> None:
        self.names, self.guarded = set(names), guarded
        self.computed: dict[Any, Any] = {}


@final
class NestBuilder:
    """Collects statements, innermost block last. Every function of FUNCTIONS is a method.

    >>> nest = NestBuilder("twice")
    >>> x = nest.input("x", dtypes.float32, (3,))
    >>> out = nest.output("out", dtypes.float32, x.shape)
    >>> nest.pointwise((out,), lambda i: x[i] * 2)
    >>> lowered = nest.build()
    >>> lowered.values
    {'x_0': 3}
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Operand] = []
        self.outputs: list[Operand] = []
        self.values: dict[str, Number] = {}
        self._arguments: list[Argument] = []
        self._buffers: dict[str, Buffer] = {}
        self._blocks: list[list[Statement]] = [[]]
        self._scopes = [_Scope()]
        self._counts: dict[str, int] = {}
        self.owner: Any = None
        self._owners: dict[int, tuple[Check, Any]] = {}

    def __getattr__(self, name: str) -> Callable[..., Scalar]:
        if name not in FUNCTIONS:
            raise AttributeError(f"{name!r} is neither a method of NestBuilder nor a function")

        def function(*operands: Numeric) -> Scalar:
            dtype = next((v.dtype for v in operands if isinstance(v, Scalar)), dtypes.int64)
            return call(name, *(constant(v, dtype) for v in operands))

        return function

    def build(self, verified: bool = True) -> Lowered:
        """Return the nest with the values of its arguments, verified unless that is not wanted."""
        inputs, outputs = (
            tuple(self._buffers[o.buffer] for o in listed) for listed in (self.inputs, self.outputs)
        )
        (body,) = self._blocks
        nest = LoopNest(self.name, tuple(self._arguments), inputs, outputs, tuple(body))
        if verified:
            verify(nest)
        checks = [s for s in statements(nest.body) if isinstance(s, Check)]
        owners = tuple(self._owners[id(check)][1] for check in checks)
        return Lowered(nest, dict(self.values), owners)

    # -- operands and arguments

    def input(self, name: str, dtype: DType, shape: Sequence[int | Scalar]) -> Operand:
        """Declare an operand. A size given as a number becomes an argument of its own."""
        operand = self._array(name, dtype, self._extents(name, shape))
        self.inputs.append(operand)
        return operand

    def output(self, name: str, dtype: DType, shape: Sequence[int | Scalar]) -> Operand:
        """Declare a result; sizes shared with an operand are given as its `shape`."""
        operand = self._array(name, dtype, self._extents(name, shape))
        self.outputs.append(operand)
        return operand

    def local(self, dtype: DType, shape: Sequence[Numeric]) -> Operand:
        """Allocate scratch memory until the end of the present block."""
        name = self.fresh("t")
        operand = self._array(name, dtype, tuple(constant(n, dtypes.int64) for n in shape))
        self.emit(Allocate(self._buffers[name]))
        return operand

    def number(self, value: Number, dtype: DType = dtypes.int64) -> Argument:
        """Declare a run-time number: an attribute of the op that is not structure."""
        return self._argument(self.fresh("a"), value, dtype)

    def numbers(self, values: Sequence[int]) -> tuple[Argument, ...]:
        """Declare several int64 run-time numbers."""
        return tuple(self.number(v) for v in values)

    def size(self, extent: Scalar) -> int:
        """Return the present value of an extent. Only for deciding structure, as reshape does."""
        if isinstance(extent, Argument):
            return int(str(self.values[extent.name]))
        if isinstance(extent, Constant):
            return int(extent.text)
        raise GraphError(f"{extent} is not the extent of an operand")

    def fresh(self, prefix: str) -> str:
        """Return a name that was not used yet: i0, i1, …"""
        count = self._counts.get(prefix, 0)
        self._counts[prefix] = count + 1
        return f"{prefix}{count}"

    def _argument(self, name: str, value: Number, dtype: DType) -> Argument:
        argument = Argument(name, dtype)
        self._arguments.append(argument)
        self.values[name] = value
        return argument

    def _extents(self, name: str, shape: Sequence[int | Scalar]) -> Indices:
        return tuple(
            n if isinstance(n, Scalar) else self._argument(f"{name}_{axis}", n, dtypes.int64)
            for axis, n in enumerate(shape)
        )

    def _array(self, name: str, dtype: DType, shape: Indices) -> Operand:
        self._buffers[name] = Buffer(name, dtype, shape)
        return Operand(dtype, shape, lambda indices: Load(name, indices, dtype), name)

    # -- expressions

    def constant(self, value: Number, dtype: DType) -> Scalar:
        """Return a value that is part of the structure."""
        return constant(value, dtype)

    def cast(self, value: Scalar, dtype: DType) -> Scalar:
        """Return the value in another dtype."""
        return cast(value, dtype)

    def bitcast(self, value: Scalar, dtype: DType) -> Scalar:
        """Return the bits of the value as another dtype of the same width."""
        return Bitcast(value, dtype)

    def select(self, condition: Scalar, then: Branch, otherwise: Branch) -> Scalar:
        """Return `then` where the condition holds, else `otherwise`; only that one is evaluated.

        A branch that reads a place which may not exist is given as a function: whatever statements
        the reading needs are then guarded too.
        """
        with self.block(guarded=True) as body:
            first = then() if callable(then) else then
        with self.block(guarded=True) as other:
            second = otherwise() if callable(otherwise) else otherwise
        sides = (first, second)
        dtype = next((v.dtype for v in sides if isinstance(v, Scalar)), dtypes.int64)
        first, second = (constant(v, dtype) for v in sides)
        if not body and not other:
            return Select(condition, first, second)
        result = self.var(constant(0, dtype))
        body.append(Assign(result.name, first))
        other.append(Assign(result.name, second))
        self.emit(Guard(condition, tuple(body), tuple(other)))
        return result

    def all(self, conditions: Sequence[Scalar]) -> Scalar:
        """Return the conjunction of conditions; True for none."""
        total = constant(True, dtypes.bool_)
        for n, condition in enumerate(conditions):
            total = call("logical_and", total, condition) if n else condition
        return total

    def inside(self, indices: Sequence[Scalar], shape: Sequence[Numeric]) -> Scalar:
        """Return whether every index lies in its axis: 0 <= index < size."""
        tests: list[Scalar] = []
        for index, size in zip(indices, shape, strict=True):
            tests += [index < size] if isinstance(index, Index) else [index >= 0, index < size]
        return self.all(tests)

    def within(
        self,
        x: Operand,
        indices: Sequence[Scalar],
        fill: Branch = 0,
        axes: Sequence[int] | None = None,
    ) -> Scalar:
        """Return x at the indices, or `fill` where they leave x: padding.

        Only `axes` are tested, all of them unless given; the others must be known to stay inside.
        """
        tested = range(x.rank) if axes is None else axes
        inside = self.inside([indices[a] for a in tested], [x.shape[a] for a in tested])
        return self.select(inside, lambda: x[indices], fill)

    # -- statements

    def emit(self, statement: Statement) -> None:
        """Append a statement to the present block."""
        self._blocks[-1].append(statement)

    def let(self, value: Scalar) -> Scalar:
        """Compute the value once, here; use the result as often as needed."""
        if isinstance(value, Constant | Argument | Index | Local):
            return value
        name = self.fresh("v")
        self._scopes[-1].names.add(name)
        self.emit(Let(name, value))
        return Local(name, value.dtype)

    def var(self, initial: Scalar) -> Local:
        """Declare a local that `assign` changes; reading it gives the present value."""
        name = self.fresh("s")
        self._scopes[-1].names.add(name)
        self.emit(Var(name, initial))
        return Local(name, initial.dtype)

    def assign(self, variable: Local, value: Numeric) -> None:
        """Give a variable a new value."""
        self.emit(Assign(variable.name, constant(value, variable.dtype)))

    def store(
        self,
        target: Operand,
        indices: Index | Sequence[Numeric],
        value: Numeric,
        combine: str = "set",
    ) -> None:
        """Write one element of an output or of scratch, or fold a value into it."""
        place = as_indices(indices, target.rank)
        self.emit(Store(target.buffer, place, constant(value, target.dtype), combine))

    def check(self, condition: Scalar, message: str, *values: Scalar) -> None:
        """Fail with IndexOutOfRange unless the condition holds; `{0}` is the first value."""
        made = Check(condition, message, values)
        self._owners[id(made)] = made, self.owner
        self.emit(made)

    def bounded(self, index: Scalar, size: Scalar, axis: int, wrap: bool = False) -> Scalar:
        """Return a loaded index as int64 after checking it; the failure names the axis.

        With `wrap`, negative indices count from the end.
        """
        at = self.let(cast(index, dtypes.int64))
        low = -size if wrap else constant(0, dtypes.int64)
        message = f"index {{0}} is out of range for axis {axis} of size {{1}}{FROM_ZERO}"
        self.check(self.all([at >= low, at < size]), message, at, size)
        return self.let(self.select(at < 0, at + size, at)) if wrap else at

    @contextmanager
    def block(
        self, bound: Sequence[Index] = (), guarded: bool = False
    ) -> Iterator[list[Statement]]:
        """Collect statements aside instead of appending them.

        Args:
            bound: the loop indices that the block will stand under.
            guarded: whether the block will run under a condition.
        """
        self._blocks.append([])
        self._scopes.append(_Scope((i.name for i in bound), guarded))
        try:
            yield self._blocks[-1]
        finally:
            self._blocks.pop()
            self._scopes.pop()

    def once(self, key: Hashable, at: Sequence[Scalar], make: Callable[[], Any]) -> Any:
        """Return what `make` gives, computed where the expressions `at` first have a value.

        A second request for the same key that can see the first one's result gets it. `make` may
        emit statements; they stand in the outermost block that binds all names in `at`, but not
        outside a guard. So a reduction that is read in an inner loop runs in front of that loop.
        """
        names = {p.name for value in at for p in walk(value) if isinstance(p, Index | Local)}
        depth = len(self._scopes) - 1
        home = depth
        while home and not self._scopes[home].guarded and not names & self._scopes[home].names:
            home -= 1
        for scope in self._scopes[home:]:
            if key in scope.computed:
                return scope.computed[key]
        with self._outside(home):
            result = self._scopes[home].computed[key] = make()
        return result

    @contextmanager
    def _outside(self, home: int) -> Iterator[None]:
        """Emit into an outer block for a while, in front of the blocks that are being written."""
        inner = self._blocks[home + 1 :], self._scopes[home + 1 :]
        del self._blocks[home + 1 :], self._scopes[home + 1 :]
        try:
            yield
        finally:
            self._blocks += inner[0]
            self._scopes += inner[1]

    @contextmanager
    def producing(self, results: Sequence[Operand]) -> Iterator[None]:
        """Let `outputs` stand for the results of a producer while its rule runs at the top."""
        before, self.outputs = self.outputs, list(results)
        with self._outside(0):
            try:
                yield
            finally:
                self.outputs = before

    @contextmanager
    def loop(self, extent: Numeric, order: str = "parallel") -> Iterator[Index]:
        """Open a loop; its index is what `with` binds."""
        index = Index(self.fresh("k" if order == "reduction" else "i"))
        with self.block([index]) as body:
            yield index
        self.emit(Loop(index.name, constant(extent, dtypes.int64), order, tuple(body)))

    @contextmanager
    def loops(self, extents: Sequence[Numeric], order: str = "parallel") -> Iterator[Indices]:
        """Open one loop per extent, the first outermost."""
        indices = tuple(Index(self.fresh("k" if order == "reduction" else "i")) for _ in extents)
        with self.block(indices) as body:
            yield indices
        for statement in _nested(indices, extents, order, tuple(body)):
            self.emit(statement)

    @contextmanager
    def guard(self, condition: Scalar) -> Iterator[None]:
        """Run the block only where the condition holds."""
        with self.block(guarded=True) as body:
            yield
        self.emit(Guard(condition, tuple(body)))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Run the block where the condition of the guard just closed does not hold."""
        last = self._blocks[-1][-1]
        if not isinstance(last, Guard):
            raise GraphError("otherwise must follow a guard")
        with self.block(guarded=True) as body:
            yield
        self._blocks[-1][-1] = Guard(last.condition, last.body, tuple(body))

    # -- whole results

    def pointwise(self, targets: Sequence[Operand], point: Point) -> None:
        """Store a Point in every element of the targets, which share one shape."""
        with self.loops(targets[0].shape) as i:
            values = point(i)
            listed = values if isinstance(values, tuple) else (values,)
            for target, value in zip(targets, listed, strict=True):
                self.store(target, i, value)

    def copy(self, source: Operand, target: Operand) -> None:
        """Store every element of the source in the target."""
        self.pointwise((target,), lambda i: source[i])

    def fold(
        self, combine: str, over: Sequence[Numeric], point: Callable[[Indices], Scalar]
    ) -> Scalar:
        """Return the values of `point` over a range of indices, combined.

        Sums and products of half types are taken in float32 and rounded once.
        """
        indices = tuple(Index(self.fresh("k")) for _ in over)
        with self.block(indices) as body:
            value = point(indices)
            narrow = value.dtype
            value = wide(value) if combine in ("add", "mul") else value
            (total,) = self._fold(combine, indices, over, (value,), body)
        for statement in body:
            self.emit(statement)
        return cast(total, narrow)

    def arg_fold(
        self,
        combine: str,
        over: Sequence[Numeric],
        point: Callable[[Indices], Scalar],
        position: Callable[[Indices], Scalar] | None = None,
    ) -> tuple[Scalar, Scalar]:
        """Return the winning value and its position; combine is argmax or argmin.

        NaN wins over everything; among equals the lowest position wins. A position is row-major
        within `over` unless a function gives another one.
        """
        indices = tuple(Index(self.fresh("k")) for _ in over)
        with self.block(indices) as body:
            value = point(indices)
            place = position(indices) if position else flat(indices, over)
            best, at = self._fold(combine, indices, over, (value, place), body)
        for statement in body:
            self.emit(statement)
        return best, at

    def _fold(
        self,
        combine: str,
        indices: Sequence[Index],
        over: Sequence[Numeric],
        values: tuple[Scalar, ...],
        body: list[Statement],
    ) -> tuple[Local, ...]:
        """Replace a collected body by: the states, and the reduction loops around the body."""
        states = tuple(Local(self.fresh("s"), v.dtype) for v in values)
        self._scopes[-2].names |= {state.name for state in states}
        initial = identity(combine, values[0].dtype)
        inner = (*body, Accumulate(combine, tuple(s.name for s in states), values))
        starts = zip(states, initial, strict=True)
        body[:] = [Var(s.name, constant(start, s.dtype)) for s, start in starts]
        body.extend(_nested(indices, over, "reduction", inner))
        return states

    def dot(
        self, over: Sequence[Numeric], pair: Callable[[Indices], tuple[Scalar, Scalar]]
    ) -> Scalar:
        """Return the sum of products of a pair, in its dtype; `wide` says in which it is summed."""
        narrow: list[DType] = []

        def product(indices: Indices) -> Scalar:
            left, right = pair(indices)
            narrow.append(left.dtype)
            return wide(left, True) * wide(right, True)

        total = self.fold("add", over, product)
        return cast(total, narrow[0])

    def reduction(self, x: Operand, combine: str, axes: Sequence[int]) -> Point:
        """Return the Point of x with axes folded away, the one that is innermost in memory last."""
        axes = [a for a in x.order if a in axes] or axes
        over = [x.shape[a] for a in axes]
        return lambda i: self.fold(combine, over, lambda k: x[merged(i, k, axes)])

    def arg_reduction(self, x: Operand, combine: str, axes: Sequence[int]) -> Point:
        """Return the Point of the row-major position, within the axes, of the winner."""
        over = [x.shape[a] for a in axes]
        return lambda i: self.arg_fold(combine, over, lambda k: x[merged(i, k, axes)])[1]


def _nested(
    indices: Sequence[Scalar], extents: Sequence[Numeric], order: str, body: Block
) -> Iterator[Statement]:
    """One loop per index around the body, which stays as it is for no index."""
    for index, extent in zip(reversed(indices), reversed(extents), strict=True):
        assert isinstance(index, Index)
        body = (Loop(index.name, constant(extent, dtypes.int64), order, body),)
    yield from body


def lower(
    name: str,
    rule: Callable[..., Any],
    inputs: Sequence[Shaped],
    outputs: Sequence[Shaped],
    elementwise: bool = False,
) -> Lowered:
    """Run an op's `lower` rule on operands of these types.

    Args:
        name: of the kernel.
        rule: called as rule(nest, *operands): Scalars if elementwise, else Operands. It returns a
            Scalar (elementwise), a Point, or None if it wrote `nest.outputs` itself.
        inputs, outputs: dtypes and shapes.
        elementwise: operands have the shape of the result or are 0-d.
    """
    nest = NestBuilder(name)
    if not elementwise:
        operands = [nest.input(f"x{n}", t.dtype, t.shape) for n, t in enumerate(inputs)]
        for n, t in enumerate(outputs):
            nest.output(f"out{n}", t.dtype, t.shape)
        point = rule(nest, *operands)
        if point is not None:
            nest.pointwise(nest.outputs, point)
        return nest.build()
    shape = nest._extents("n", outputs[0].shape)
    for n, t in enumerate(inputs):
        nest.input(f"x{n}", t.dtype, shape if t.shape else ())
    for n, t in enumerate(outputs):
        nest.output(f"out{n}", t.dtype, shape)
    nest.pointwise(
        nest.outputs, lambda i: rule(nest, *(x[i] if x.shape else x[()] for x in nest.inputs))
    )
    return nest.build()
