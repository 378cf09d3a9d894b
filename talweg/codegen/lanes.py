"""Lanes: LLVM values with Python's operators, scalars and vectors alike.

The mathematical functions are written on these, once for every width. An element `kind` is an LLVM
type: float, double, i1, i8 … i64. Python numbers become constants of their neighbour's kind.
Integer comparison and right shift are signed; `shift_logical` and `below` are the unsigned ones.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add, eq, ge, gt, le, lt, mul, ne, sub
from typing import TypeAlias, final

from talweg.codegen.writer import Writer

BITS = {"float": 32, "double": 64, "half": 16}
INTEGER_OF = {"float": "i32", "double": "i64", "half": "i16"}
FLOAT_OF = {"i32": "float", "i64": "double"}


def literal(value: float, kind: str) -> str:
    """Return the text of an LLVM constant; floats are exact, rounded to their kind."""
    if kind == "i1":
        return "true" if value else "false"
    if kind not in BITS:
        return str(int(value))
    if kind == "float":
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    if kind == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def type_of(kind: str, lanes: int) -> str:
    """Return the LLVM type of some lanes of a kind; one lane is a scalar."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


@final
@dataclass(frozen=True, eq=False, slots=True)
class Lanes:
    """One SSA value: `lanes` elements of a kind. Abstract as to how many they are."""

    writer: Writer
    name: str
    kind: str
    lanes: int

    @property
    def type(self) -> str:
        """The LLVM type."""
        return type_of(self.kind, self.lanes)

    @property
    def floating(self) -> bool:
        """Whether elements are floats."""
        return self.kind in BITS

    @property
    def bits(self) -> int:
        """The width of an element."""
        return BITS[self.kind] if self.floating else int(self.kind[1:])

    @property
    def is_number(self) -> bool:
        """Whether this is a constant other than NaN, as far as its text shows."""
        text = self.name.removeprefix(f"splat ({self.kind} ").removesuffix(")")
        if text.startswith(("%", "<")):
            return False
        return not self.floating or not text.startswith(("0x7FF8", "0xFFF8", "0xH7E", "0xHFE"))

    def like(self, value: Number) -> Lanes:
        """Return a constant of this kind and width; Lanes are returned as they are."""
        if isinstance(value, Lanes):
            return value
        return constant(self.writer, value, self.kind, self.lanes)

    def binary(self, operation: str, other: Number, kind: str | None = None) -> Lanes:
        """Write an instruction of two operands of one type."""
        right = self.like(other)
        name = self.writer.emit(f"{operation} {self.type} {self.name}, {right.name}")
        return Lanes(self.writer, name, kind or self.kind, self.lanes)

    def _either(self, operation: str, other: Number) -> Lanes:
        if self.floating:
            return self.binary(f"f{operation}", other)
        right = self.like(other)
        if self.name in _PLAIN or right.name in _PLAIN:
            plain = _plainly(operation, self, right)
            if plain is not None:
                return plain
        if _is_whole(self) and _is_whole(right):
            found = _COMPUTED[operation](int(self.name), int(right.name))
            return constant(self.writer, (found + _HALF) % (2 * _HALF) - _HALF, "i64", 1)
        return self.binary(operation, right)

    def __add__(self, other: Number) -> Lanes:
        return self._either("add", other)

    def __radd__(self, other: Number) -> Lanes:
        return self.like(other) + self

    def __sub__(self, other: Number) -> Lanes:
        return self._either("sub", other)

    def __rsub__(self, other: Number) -> Lanes:
        return self.like(other) - self

    def __mul__(self, other: Number) -> Lanes:
        return self._either("mul", other)

    def __rmul__(self, other: Number) -> Lanes:
        return self.like(other) * self

    def __truediv__(self, other: Number) -> Lanes:
        return self.binary("fdiv", other)

    def __rtruediv__(self, other: Number) -> Lanes:
        return self.like(other) / self

    def __neg__(self) -> Lanes:
        if not self.floating:
            return 0 - self
        name = self.writer.emit(f"fneg {self.type} {self.name}")
        return Lanes(self.writer, name, self.kind, self.lanes)

    def __and__(self, other: Number) -> Lanes:
        return self.binary("and", other)

    def __or__(self, other: Number) -> Lanes:
        return self.binary("or", other)

    def __xor__(self, other: Number) -> Lanes:
        return self.binary("xor", other)

    def __invert__(self) -> Lanes:
        return self ^ (1 if self.kind == "i1" else -1)

    def __lshift__(self, other: Number) -> Lanes:
        return self.binary("shl", other)

    def __rshift__(self, other: Number) -> Lanes:
        return self.binary("ashr", other)

    def shift_logical(self, other: Number) -> Lanes:
        """Shift right, filling with zeros."""
        return self.binary("lshr", other)

    def compare(self, word: str, other: Number, signed: bool = True) -> Lanes:
        """Compare by one of eq ne lt le gt ge; with NaN only `ne` holds."""
        if self.floating:
            ordered = "une" if word == "ne" else f"o{word}"
            return self.binary(f"fcmp {ordered}", other, "i1")
        right = self.like(other)
        if signed and _is_whole(self) and _is_whole(right):
            holds = _COMPARED[word](int(self.name), int(right.name))
            return constant(self.writer, holds, "i1", 1)
        if word not in ("eq", "ne"):
            word = ("s" if signed and self.kind != "i1" else "u") + word
        return self.binary(f"icmp {word}", right, "i1")

    def __lt__(self, other: Number) -> Lanes:
        return self.compare("lt", other)

    def __le__(self, other: Number) -> Lanes:
        return self.compare("le", other)

    def __gt__(self, other: Number) -> Lanes:
        return self.compare("gt", other)

    def __ge__(self, other: Number) -> Lanes:
        return self.compare("ge", other)

    def equals(self, other: Number) -> Lanes:
        """Elementwise ==."""
        return self.compare("eq", other)

    def differs(self, other: Number) -> Lanes:
        """Elementwise !=; holds for NaN."""
        return self.compare("ne", other)

    def __bool__(self) -> bool:
        raise TypeError("the value of Lanes is not known before the code runs")


Number: TypeAlias = Lanes | int | float


_PLAIN = {"0", "1"}
_HALF = 1 << 63
_COMPUTED: dict[str, Callable[[int, int], int]] = {"add": add, "sub": sub, "mul": mul}
_COMPARED: dict[str, Callable[[int, int], bool]] = {
    "eq": eq,
    "ne": ne,
    "lt": lt,
    "le": le,
    "gt": gt,
    "ge": ge,
}


def _is_whole(x: Lanes) -> bool:
    """Whether this is a number of 64 bits that the text shows."""
    return x.kind == "i64" and x.lanes == 1 and x.name.lstrip("-").isdigit()


def _plainly(operation: str, a: Lanes, b: Lanes) -> Lanes | None:
    """What needs no instruction: + 0, * 1 and their like."""
    if operation == "mul":
        for x, y in ((a, b), (b, a)):
            if x.name in _PLAIN:
                return y if x.name == "1" else x
    elif b.name == "0":
        return a
    elif operation == "add" and a.name == "0":
        return b
    return None


def constant(writer: Writer, value: float, kind: str, lanes: int) -> Lanes:
    """Return a constant in all lanes."""
    text = literal(value, kind)
    return Lanes(writer, text if lanes == 1 else f"splat ({kind} {text})", kind, lanes)


def constants(writer: Writer, values: Sequence[float], kind: str) -> Lanes:
    """Return a vector of different constants."""
    listed = ", ".join(f"{kind} {literal(v, kind)}" for v in values)
    return Lanes(writer, f"<{listed}>", kind, len(values))


def _call(name: str, *operands: Lanes) -> Lanes:
    """Call an intrinsic whose operands and result have one type."""
    first = operands[0]
    suffix = {"float": "f32", "double": "f64", "half": "f16"}.get(first.kind, first.kind)
    full = f"llvm.{name}.{suffix if first.lanes == 1 else f'v{first.lanes}{suffix}'}"
    pairs = [(v.type, v.name) for v in operands]
    return Lanes(
        first.writer, first.writer.intrinsic(full, first.type, *pairs), first.kind, first.lanes
    )


def fma(a: Lanes, b: Number, c: Number) -> Lanes:
    """Return a * b + c, rounded once where the target can, else twice."""
    if not a.writer.target.fma:
        return a * b + c
    return _call("fma", a, a.like(b), a.like(c))


def sqrt(x: Lanes) -> Lanes:
    """Return the square root, correctly rounded."""
    return _call("sqrt", x)


def absolute(x: Lanes) -> Lanes:
    """Return |x| of floats."""
    return _call("fabs", x)


def copysign(x: Lanes, sign: Number) -> Lanes:
    """Return |x| with the sign of another value."""
    return _call("copysign", x, x.like(sign))


def where(condition: Lanes, then: Number, otherwise: Number) -> Lanes:
    """Return `then` in lanes where the condition holds, else `otherwise`; one of them is Lanes."""
    if isinstance(then, Lanes):
        otherwise = then.like(otherwise)
    elif isinstance(otherwise, Lanes):
        then = otherwise.like(then)
    else:
        raise TypeError("one of the choices must be Lanes")
    if condition.name in ("true", "false"):
        return then if condition.name == "true" else otherwise
    name = condition.writer.emit(
        f"select {condition.type} {condition.name}, {then.type} {then.name}, "
        f"{otherwise.type} {otherwise.name}"
    )
    return Lanes(then.writer, name, then.kind, then.lanes)


def where_pointer(condition: Lanes, then: str, otherwise: str) -> str:
    """Return one of two addresses."""
    return condition.writer.emit(f"select i1 {condition.name}, ptr {then}, ptr {otherwise}")


def larger(x: Lanes, y: Number) -> Lanes:
    """Return the larger one; x where either is NaN."""
    return where(x < y, y, x)


def smaller(x: Lanes, y: Number) -> Lanes:
    """Return the smaller one; x where either is NaN."""
    return where(x > y, y, x)


def _converted(x: Lanes, operation: str, kind: str) -> Lanes:
    if x.kind == kind:
        return x
    target = type_of(kind, x.lanes)
    name = x.writer.emit(f"{operation} {x.type} {x.name} to {target}")
    return Lanes(x.writer, name, kind, x.lanes)


def to_double(x: Lanes) -> Lanes:
    """Widen floats."""
    return _converted(x, "fpext", "double")


def to_float(x: Lanes) -> Lanes:
    """Round doubles to float, or widen halves."""
    return _converted(x, "fpext" if x.kind == "half" else "fptrunc", "float")


def to_half(x: Lanes) -> Lanes:
    """Round floats to half."""
    return _converted(x, "fptrunc", "half")


def bits_of(x: Lanes) -> Lanes:
    """Return the bits of floats as integers."""
    return _converted(x, "bitcast", INTEGER_OF[x.kind])


def from_bits(x: Lanes, kind: str | None = None) -> Lanes:
    """Return floats of these bits."""
    return _converted(x, "bitcast", kind or FLOAT_OF[x.kind])


def resize(x: Lanes, kind: str, signed: bool = True) -> Lanes:
    """Truncate or extend integers."""
    if int(kind[1:]) < x.bits:
        return _converted(x, "trunc", kind)
    return _converted(x, "sext" if signed and x.kind != "i1" else "zext", kind)


def to_integer(x: Lanes, kind: str, signed: bool = True) -> Lanes:
    """Truncate floats; some integer where the value does not fit."""
    wide = _converted(x, "fptosi" if signed else "fptoui", kind)
    name = x.writer.emit(f"freeze {wide.type} {wide.name}")
    return Lanes(x.writer, name, kind, x.lanes)


def from_integer(x: Lanes, kind: str, signed: bool = True) -> Lanes:
    """Convert integers to the nearest floats."""
    return _converted(x, "sitofp" if signed and x.kind != "i1" else "uitofp", kind)


_WHOLE = {"float": 2.0**23, "double": 2.0**52}


def rint(x: Lanes) -> Lanes:
    """Round to the nearest whole number, ties to even."""
    if x.writer.target.rounding:
        return _call("roundeven", x)
    return where(absolute(x) < _WHOLE[x.kind], copysign(_nearest(x), x), x)


def _nearest(x: Lanes) -> Lanes:
    shift = copysign(x.like(_WHOLE[x.kind]), x)
    return (x + shift) - shift


def floor(x: Lanes) -> Lanes:
    """Round down."""
    if x.writer.target.rounding:
        return _call("floor", x)
    near = rint(x)
    return copysign(where(near > x, near - 1, near), x)


def ceil(x: Lanes) -> Lanes:
    """Round up."""
    if x.writer.target.rounding:
        return _call("ceil", x)
    near = rint(x)
    return copysign(where(near < x, near + 1, near), x)


def trunc(x: Lanes) -> Lanes:
    """Round towards zero."""
    if x.writer.target.rounding:
        return _call("trunc", x)
    return copysign(floor(absolute(x)), x)


def scaled(x: Lanes, power: Lanes, alive: Lanes | None = None) -> Lanes:
    """Return x * 2**power, rounded once, for a whole power; where `Target.scales` says so.

    Lanes that are not alive are 0; they cost no time even if they are far below all numbers.
    """
    writer, width = x.writer, x.lanes * x.bits
    mask = f"i{max(x.lanes, 8)}"
    chosen = "-1"
    if alive is not None and x.lanes >= 8:
        chosen = writer.emit(f"bitcast {alive.type} {alive.name} to {mask}")
    given = [(x.type, x.name), (x.type, power.name), (x.type, "zeroinitializer"), (mask, chosen)]
    given += [("i32", "4")] if width == 512 else []  # round as usual
    kind = "ps" if x.kind == "float" else "pd"
    name = writer.intrinsic(f"llvm.x86.avx512.mask.scalef.{kind}.{width}", x.type, *given)
    return Lanes(writer, name, x.kind, x.lanes)


def is_nan(x: Lanes) -> Lanes:
    """Whether floats are NaN."""
    return x.binary("fcmp uno", x, "i1")


def splat(x: Lanes, lanes: int) -> Lanes:
    """Return a scalar in all lanes of a vector."""
    if x.lanes == lanes:
        return x
    if not x.name.startswith("%"):
        return Lanes(x.writer, f"splat ({x.kind} {x.name})", x.kind, lanes)
    vector = type_of(x.kind, lanes)
    first = x.writer.emit(f"insertelement {vector} poison, {x.kind} {x.name}, i64 0")
    name = x.writer.emit(
        f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer"
    )
    return Lanes(x.writer, name, x.kind, lanes)


def lane(x: Lanes, index: int | Lanes) -> Lanes:
    """Return one element as a scalar."""
    if x.lanes == 1:
        return x
    at = index.name if isinstance(index, Lanes) else index
    return Lanes(x.writer, x.writer.emit(f"extractelement {x.type} {x.name}, i64 {at}"), x.kind, 1)


def shuffled(x: Lanes, order: Sequence[int], other: Lanes | None = None) -> Lanes:
    """Return the lanes in another order; there may be fewer of them. Those of a second vector of
    the same width count behind those of the first.
    """
    if len(order) == 1 and other is None:
        return lane(x, order[0])
    listed = ", ".join(f"i32 {n}" for n in order)
    second = "poison" if other is None else other.name
    name = x.writer.emit(
        f"shufflevector {x.type} {x.name}, {x.type} {second}, <{len(order)} x i32> <{listed}>"
    )
    return Lanes(x.writer, name, x.kind, len(order))


def lower_put(whole: Lanes, low: Lanes) -> Lanes:
    """Return a vector with other first lanes."""
    writer, count = whole.writer, whole.lanes
    if low.lanes == 1:
        name = writer.emit(f"insertelement {whole.type} {whole.name}, {low.type} {low.name}, i64 0")
        return Lanes(writer, name, whole.kind, count)
    spread = ", ".join(f"i32 {n}" if n < low.lanes else "i32 poison" for n in range(count))
    wide = writer.emit(
        f"shufflevector {low.type} {low.name}, {low.type} poison, <{count} x i32> <{spread}>"
    )
    chosen = ", ".join(f"i32 {n if n < low.lanes else count + n}" for n in range(count))
    name = writer.emit(
        f"shufflevector {whole.type} {wide}, {whole.type} {whole.name}, <{count} x i32> <{chosen}>"
    )
    return Lanes(writer, name, whole.kind, count)


def joined(parts: Sequence[Lanes]) -> Lanes:
    """Return scalars as the lanes of one vector."""
    first = parts[0]
    if len(parts) == 1:
        return first
    vector, name = type_of(first.kind, len(parts)), "poison"
    for n, part in enumerate(parts):
        name = first.writer.emit(f"insertelement {vector} {name}, {part.kind} {part.name}, i64 {n}")
    return Lanes(first.writer, name, first.kind, len(parts))


def any_lane(x: Lanes) -> Lanes:
    """Whether an i1 holds in any lane."""
    if x.lanes == 1:
        return x
    name = x.writer.intrinsic(f"llvm.vector.reduce.or.v{x.lanes}i1", "i1", (x.type, x.name))
    return Lanes(x.writer, name, "i1", 1)


def horner(coefficients: Sequence[float], x: Lanes) -> Lanes:
    """Return the polynomial whose highest coefficient comes first."""
    total = x.like(coefficients[0])
    for c in coefficients[1:]:
        total = fma(total, x, c)
    return total
