"""Stages -> LLVM IR: a function for each, with the calling convention of `runtime.jit`.

Statements become blocks and phis directly, loops that `vectors` chose become vector loops with a
loop for what is left over. Floating arithmetic is written as it stands; only a fold in a reduction
loop may be regrouped, and only there a product and a sum become one fma.
"""

from __future__ import annotations

from collections.abc import Sequence

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.codegen import calls, memory
from talweg.codegen.elements import Parts, cast, kind_of
from talweg.codegen.expressions import Scope, chosen_parts, merged, replace_parts
from talweg.codegen.folds import Folds
from talweg.codegen.hoist import hoist
from talweg.codegen.lanes import (
    Lanes,
    any_lane,
    constant,
    constants,
    fma,
    lane,
    resize,
    smaller,
    splat,
    where,
)
from talweg.codegen.memory import Array
from talweg.codegen.repeat import perhaps, repeat
from talweg.codegen.signature import symbol
from talweg.codegen.sizes import ALIGNMENT
from talweg.codegen.squares import turn
from talweg.codegen.values import Value
from talweg.codegen.writer import Writer
from talweg.loops.nest import (
    Accumulate,
    Assign,
    Block,
    Buffer,
    Check,
    Guard,
    Let,
    Loop,
    Statement,
    Store,
    Var,
    statements,
)
from talweg.loops.scalar import (
    Call,
    Scalar,
)
from talweg.schedule.parts import copied_from
from talweg.schedule.stages import Stage, Staged
from talweg.schedule.target import Target
from talweg.schedule.vectors import Choice


def emit(kernel: Staged, target: Target, light: bool = False) -> str:
    """Return the LLVM IR of a nest that was cut into stages."""
    writer = Writer(target)
    name = symbol(kernel.nest)
    for n, stage in enumerate(kernel.stages):
        head = f"i32 @{name}.{n}(ptr %block, ptr %scratch, i64 %begin, i64 %end)"
        with writer.define(head, light):
            body = Body(writer, kernel)
            body.enter()
            body.stage(stage)
            if kernel.streams:  # such stores are ordered before what tells others of them
                writer.intrinsic("llvm.x86.sse.sfence", "void")
            writer.do("ret i32 0")
    return writer.text()


class Body:
    """Writes the statements of one stage of a kernel."""

    def __init__(self, writer: Writer, kernel: Staged) -> None:
        self.writer, self.kernel, self.nest = writer, kernel, kernel.nest
        self.chosen = kernel.vectors
        self.scope = Scope(writer)
        self.scope.inputs = {buffer.name for buffer in self.nest.inputs}
        self.ending: Lanes | None = None  # the extent of a vector loop that has such masks
        self.folds: Folds | None = None  # of the vector loops that are being written
        self.checks = [s for s in statements(self.nest.body) if isinstance(s, Check)]

    # -- entry

    def enter(self) -> None:
        """Read the argument block."""
        buffers = self.nest.inputs + self.nest.outputs
        place = len(buffers) + 1
        for argument in self.nest.arguments:
            self.scope.names[argument.name] = self._argument(argument.dtype, place)
            place += 2 if argument.dtype.is_complex else 1
        self.failure_slot = place
        for n, buffer in enumerate(buffers):
            pointer = self.writer.emit(f"load ptr, ptr {self._slot(n)}")
            self._array(buffer, pointer)
        self.statements(self.kernel.before)
        self.statements(self.kernel.given)
        if self.kernel.shared:
            base = self.writer.emit(f"load ptr, ptr {self._slot(len(buffers))}")
            self._lay_out(self.kernel.shared, base)

    def stage(self, stage: Stage) -> None:
        """Write the work of the items from %begin to %end."""
        self._unless_in_place(stage)
        self._lay_out(tuple(stage.scratch()), "%scratch")
        begin, end = (Lanes(self.writer, name, "i64", 1) for name in ("%begin", "%end"))
        if not stage.indices:
            self.statements(stage.body)
        elif len(stage.indices) == 1:
            (index,), (extent,) = stage.indices, stage.extents
            if stage.block > 1:
                begin = begin * stage.block
                end = smaller(self.scope.value(extent).single, end * stage.block)
            self.loop(Loop(index, extent, "parallel", stage.body), begin, end)
        else:
            self._items(stage, begin, end)

    def _unless_in_place(self, stage: Stage) -> None:
        """Leave a stage that copies elements to where they are."""
        buffers = copied_from(stage.body)
        if buffers is None:
            return
        writer = self.writer
        target, source = (self.scope.arrays[name].pointer for name in buffers)
        same, on = writer.label("same"), writer.label("on")
        writer.branch(writer.emit(f"icmp eq ptr {target}, {source}"), same, on)
        writer.start(same)
        writer.do("ret i32 0")
        writer.start(on)

    def _items(self, stage: Stage, begin: Lanes, end: Lanes) -> None:
        """One item after the other, whose indices count like the digits of a number."""
        sizes = [self.scope.value(extent).single for extent in stage.extents]
        digits: list[Lanes] = []
        left = begin
        for size in reversed(sizes[1:]):
            digits.append(left.binary("urem", size))
            left = left.binary("udiv", size)
        digits.append(left)
        outer = dict(self.scope.names)
        hoist(self.scope, stage.body, begin < end)
        before = dict(self.scope.names)

        def body(_: Lanes, now: list[Lanes]) -> list[Lanes]:
            self.scope.names = dict(before)
            for name, digit in zip(reversed(stage.indices), now, strict=True):
                self.scope.names[name] = Value(dtypes.int64, (digit,))
            self.statements(stage.body)
            following = []
            carry = constant(self.writer, 1, "i64", 1)
            for digit, size in zip(now, reversed(sizes[1:]), strict=False):
                grown = digit + carry
                full = grown.equals(size)
                following.append(where(full, 0, grown))
                carry = resize(full, "i64")
            return [*following, now[-1] + carry]

        repeat(end, digits, body, begin)
        self.scope.names = outer

    def _slot(self, at: int) -> str:
        return self.writer.emit(f"getelementptr i64, ptr %block, i64 {at}")

    def _argument(self, dtype: DType, place: int) -> Value:
        def read(at: int, kind: str) -> Lanes:
            name = self.writer.emit(f"load {kind}, ptr {self._slot(at)}")
            return Lanes(self.writer, name, kind, 1)

        if dtype.is_complex:
            both = read(place, "double"), read(place + 1, "double")
            return Value(dtype, cast(both, dtypes.complex128, dtype))
        if dtype.category == "float":
            return Value(dtype, cast((read(place, "double"),), dtypes.float64, dtype))
        whole = read(place, "i64")
        if dtype.category == "bool":
            return Value(dtype, (whole.differs(0),))
        return Value(dtype, (resize(whole, kind_of(dtype)),))

    def _array(self, buffer: Buffer, pointer: str) -> Array:
        shape = tuple(self.scope.value(size) for size in buffer.shape if len(buffer.shape) > 1)
        array = Array(pointer, buffer.dtype, shape, buffer.name in self.kernel.streams)
        self.scope.arrays[buffer.name] = array
        return array

    def _lay_out(self, buffers: Sequence[Buffer], base: str) -> None:
        """Give buffers their places one after the other, as `sizes` counts them."""
        end = constant(self.writer, 0, "i64", 1)
        for buffer in buffers:
            pointer = self.writer.emit(f"getelementptr i8, ptr {base}, i64 {end.name}")
            room = constant(self.writer, buffer.dtype.itemsize, "i64", 1)
            self._array(buffer, pointer)
            for size in buffer.shape:
                extent = self.scope.value(size).single
                room = room * where(extent < 0, 0, extent)
            end = end + ((room + (ALIGNMENT - 1)) & -ALIGNMENT)

    # -- statements

    def statements(self, block: Block) -> None:
        """Write a block. Names that it binds end with it."""
        for statement in block:
            self.statement(statement)

    def statement(self, statement: Statement) -> None:
        """Write a statement."""
        match statement:
            case Loop():
                self.loop(statement)
            case Let(name, value):
                self.scope.names[name] = self.scope.value(value)
            case Var(name, value):
                self.scope.names[name] = self.scope.wide(self.scope.value(value))
            case Assign(name, value):
                self.assign(name, self.scope.wide(self.scope.value(value)))
            case Accumulate(combine, names, values):
                self.accumulate(combine, names, values)
            case Store(buffer, indices, value, combine):
                self.store(buffer, indices, value, combine)
            case Guard():
                self.guard(statement)
            case Check():
                self.check(statement)

    def assign(self, name: str, new: Value) -> None:
        """Give a variable a new value in the lanes that are alive."""
        if self.scope.mask is not None:
            new = replace_parts(
                new, chosen_parts(self.scope.mask, new.parts, self.scope.names[name].parts)
            )
        self.scope.names[name] = new

    def accumulate(self, combine: str, names: Sequence[str], values: Sequence[Scalar]) -> None:
        """Fold values into variables."""
        state = [self.scope.names[name] for name in names]
        dtype = values[0].dtype
        product = values[0]
        fused = combine == "add" and dtype in (dtypes.float32, dtypes.float64)
        if fused and isinstance(product, Call) and product.function == "mul":
            left, right = (self.scope.wide(self.scope.value(o)).single for o in product.operands)
            new: tuple[Parts, ...] = ((fma(left, right, state[0].single),),)
        else:
            given = [self.scope.wide(self.scope.value(v)).parts for v in values]
            new = calls.combine(combine, dtype, [s.parts for s in state], given)
        for name, old, parts in zip(names, state, new, strict=True):
            self.assign(name, replace_parts(old, parts))

    def store(self, buffer: str, indices: Sequence[Scalar], value: Scalar, combine: str) -> None:
        """Write an element, or fold into it."""
        array, offset = self.scope.element(self.scope.arrays[buffer], indices)
        new = self.scope.wide(self.scope.value(value))
        if combine != "set":
            old = self.scope.wide(self.scope.load(array, offset))
            (parts,) = calls.combine(combine, array.dtype, [old.parts], [new.parts])
            new = replace_parts(new, parts)
        memory.store(array, offset, new, self.scope.lanes, self.scope.mask)

    def check(self, statement: Check) -> None:
        """Leave the kernel with the number of the check where it does not hold."""
        writer = self.writer
        holds = self.scope.settled(self.scope.value(statement.condition)).single
        wrong = ~holds
        if self.scope.mask is not None:
            wrong = self.scope.mask & self.scope.wide(Value(dtypes.bool_, (wrong,))).single
        fail, on = writer.label("fail"), writer.label("on")
        writer.branch(any_lane(wrong).name, fail, on)
        known = writer.known
        writer.start(fail, known)
        first = _first_lane(wrong)
        for n, value in enumerate(statement.values):
            found = lane(self.scope.settled(self.scope.value(value)).single, first)
            writer.do(f"store i64 {found.name}, ptr {self._slot(self.failure_slot + n)}")
        number_of_check = next(n for n, c in enumerate(self.checks, 1) if c is statement)
        writer.do(f"ret i32 {number_of_check}")
        writer.start(on, known)

    def guard(self, statement: Guard) -> None:
        """Write a condition: a branch, or masks where lanes differ."""
        condition = self.scope.settled(self.scope.value(statement.condition)).single
        if condition.lanes > 1:
            for side, block in ((condition, statement.body), (~condition, statement.otherwise)):
                if block:
                    with self.scope.masked(side):
                        self.statements(block)
            return
        writer = self.writer
        then, other, join = writer.label("then"), writer.label("else"), writer.label("join")
        writer.branch(condition.name, then, other)
        before, known = dict(self.scope.names), writer.known
        ends: list[tuple[dict[str, Value], str]] = []
        for label, block in ((then, statement.body), (other, statement.otherwise)):
            self.scope.names = dict(before)
            writer.start(label, known)
            self.statements(block)
            ends.append((self.scope.names, writer.block))
            writer.jump(join)
        writer.start(join, known)
        self.scope.names = before
        for name in _assigned((statement,)) & before.keys():
            self.scope.names[name] = merged(writer, *((names[name], end) for names, end in ends))

    # -- loops

    def loop(self, loop: Loop, first: Lanes | None = None, last: Lanes | None = None) -> None:
        """Write a loop, or a range of its iterations; as a vector loop where one was chosen."""
        outer = dict(self.scope.names)
        extent = self.scope.value(loop.extent).single if last is None else last
        hoist(self.scope, loop.body, (extent.like(0) if first is None else first) < extent)
        choice = self.chosen.get(loop.index) if self.scope.lanes == 1 else None
        folds = None if self.folds else self._folds_of(loop)
        self.folds = self.folds or folds
        if choice is not None and choice.once:
            self._vector_once(loop, extent, choice.rest)
        elif choice is not None:
            self._vector_loop(loop, extent, choice, first)
        else:
            if loop.index in self.kernel.squares:
                (columns,) = loop.body
                assert isinstance(columns, Loop)
                turn(self.scope, loop, columns, self.kernel.squares[loop.index])
            self._plain_loop(loop, extent, first)
        if folds is not None:
            folds.finish()
            self.folds = None
        after = {name: self.scope.names[name] for name in _assigned(loop.body) & outer.keys()}
        self.scope.names = outer | after

    def _folds_of(self, loop: Loop) -> Folds | None:
        """The folds of a vector loop, or of loops around it that hold nothing else."""
        inner = loop
        while inner.order == "reduction" and self.scope.lanes == 1:
            if inner.index in self.chosen:
                return Folds(self.scope, loop, self.chosen[inner.index].widest)
            loops = [s for s in inner.body if isinstance(s, Loop)]
            if len(loops) != 1 or any(not isinstance(s, Loop | Let) for s in inner.body):
                break
            inner = loops[0]
        return None

    def _plain_loop(
        self, loop: Loop, count: Lanes, start: Lanes | None, step: int = 1, once: bool = False
    ) -> None:
        """One iteration after the other, or `step` of them at once in as many lanes.

        With `once` there is at most one step.
        """
        outer = dict(self.scope.names)
        carried = sorted(_assigned(loop.body) & outer.keys())
        shapes = [outer[name] for name in carried]
        state = [part for value in shapes for part in value.parts]

        def body(at: Lanes, now: list[Lanes]) -> list[Lanes]:
            self.scope.names = dict(outer)
            self._bind(carried, shapes, now)
            self.scope.names[loop.index] = Value(dtypes.int64, (at,), 1 if step > 1 else 0)
            if step > 1 and self.ending is not None:
                self.scope.mask = self.scope.alive = self._mask_of(at, self.ending)
            if step > 1:
                for load in self.kernel.ahead.get(loop.index, ()):
                    memory.fetch(
                        *self.scope.element(self.scope.arrays[load.buffer], load.indices), step
                    )
            self.statements(loop.body)
            return [part for name in carried for part in self.scope.names[name].parts]

        if once and start is not None:
            ends = perhaps(start < count, state, lambda now: body(start, now))
        else:
            ends = repeat(count, state, body, start, step)
        self.scope.names = outer
        self._bind(carried, shapes, ends)

    def _bind(self, names: Sequence[str], shapes: Sequence[Value], parts: list[Lanes]) -> None:
        rest = iter(parts)
        for name, shape in zip(names, shapes, strict=True):
            self.scope.names[name] = replace_parts(shape, tuple(next(rest) for _ in shape.parts))

    def _vector_loop(self, loop: Loop, extent: Lanes, choice: Choice, first: Lanes | None) -> None:
        """Whole vectors of each width, then what is left: a vector by mask, or one by one."""
        base = extent.like(0) if first is None else first
        count = extent - base if first is not None else extent
        count = where(count < 0, 0, count)
        start = base
        folds = self.folds if loop.order == "reduction" else None
        for n, width in enumerate((*choice.whole, choice.rest)):
            whole = folds.narrow(width) if folds else {}
            self.scope.lanes = width
            if n < len(choice.whole):
                self._plain_loop(loop, extent - (width - 1), start, width)
                start = base + (count & -width)
            else:
                self.ending = extent if width > 1 else None
                # Behind whole vectors of this width there is less than another one.
                once = width > 1 and choice.whole[-1:] == (width,)
                self._plain_loop(loop, extent, start, width, once)
                self.ending = self.scope.mask = self.scope.alive = None
            self.scope.lanes = 1
            if folds:
                folds.widen(whole)

    def _vector_once(self, loop: Loop, extent: Lanes, width: int) -> None:
        """A single vector, with lanes switched off behind the extent, which is not 0."""
        self.scope.lanes = width
        zero = extent.like(0)
        self.scope.mask = self.scope.alive = self._mask_of(zero, extent)
        self.scope.names[loop.index] = Value(dtypes.int64, (zero,), 1)
        self.statements(loop.body)
        self.scope.mask = self.scope.alive = None
        self.scope.lanes = 1

    def _mask_of(self, at: Lanes, extent: Lanes) -> Lanes:
        """Which lanes of a vector that begins at an index are inside the extent: at least one."""
        left = resize(smaller(extent - at, self.scope.lanes), "i32")
        places = constants(self.writer, range(self.scope.lanes), "i32")
        return places < splat(left, self.scope.lanes)


def _first_lane(flags: Lanes) -> Lanes:
    """The number of the first lane that is set."""
    writer = flags.writer
    if flags.lanes == 1:
        return constant(writer, 0, "i64", 1)
    kind = f"i{flags.lanes}"
    bits = writer.emit(f"bitcast {flags.type} {flags.name} to {kind}")
    found = writer.intrinsic(f"llvm.cttz.{kind}", kind, (kind, bits), ("i1", "false"))
    return resize(Lanes(writer, found, kind, 1), "i64", signed=False)


def _assigned(block: Block) -> set[str]:
    """The names that a block gives new values."""
    found: set[str] = set()
    for statement in statements(block):
        if isinstance(statement, Assign):
            found.add(statement.name)
        elif isinstance(statement, Accumulate):
            found.update(statement.names)
    return found
