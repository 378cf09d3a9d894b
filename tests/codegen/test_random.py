"""Random nests whose arithmetic is exact: machine code gives the bits of the interpreter."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base import dtypes as d
from talweg.base.dtypes import DType
from talweg.loops.affine import simplify_nest
from talweg.loops.functions import COMBINES, FUNCTIONS
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
)
from talweg.loops.scalar import (
    Argument,
    Bitcast,
    Cast,
    Index,
    Load,
    Local,
    Scalar,
    Select,
    call,
    constant,
)
from talweg.loops.verify import verify
from tests.codegen.machine import check_same

I64 = d.int64
TYPES = (I64, d.float32, d.float16, d.bfloat16, d.float64, d.int8, d.uint32, d.bool_, d.complex64)
N, M, S = Argument("n", I64), Argument("m", I64), Argument("s", d.float32)
INPUTS = tuple(Buffer(f"x_{t.name}", t, (N, M)) for t in TYPES)
ROOTS = tuple(Buffer(f"p_{t.name}", t, ()) for t in TYPES)

# Left out: what is not exact, and shifts, which have no meaning for negative amounts.
INEXACT = {"atan2", "polygamma", "pow", "shl", "shr", "rsqrt"} | {
    name for name in FUNCTIONS if name.startswith(("exp", "log", "sin", "cos", "tan", "erf"))
}
INEXACT |= {"asin", "acos", "atan", "asinh", "acosh", "atanh", "digamma", "lgamma"}
INEXACT -= {name for name in FUNCTIONS if name.startswith("logical")}
COMPLEX = {"add", "sub", "mul", "neg", "conj", "real", "imag", "eq", "ne", "isnan", "complex"}


def functions(dtype: DType) -> list[tuple[str, DType]]:
    """The functions, with the dtype of their operands, that give a dtype exactly."""
    return [
        (name, source)
        for name, f in FUNCTIONS.items()
        for source in TYPES
        if source.category in f.accepts
        and name not in INEXACT
        and not (f.result == "complex" and source is not d.float32)
        and not (source.is_complex and name not in COMPLEX)
        and f.result_dtype(source) is dtype
    ]


CHOICES = {dtype: functions(dtype) for dtype in TYPES}


def numbers(dtype: DType) -> st.SearchStrategy[Scalar]:
    if dtype.category == "bool":
        return st.booleans().map(lambda v: constant(v, dtype))
    if dtype.is_complex:
        return st.sampled_from([0, 1 - 2j, 0.5 + 3j]).map(lambda v: constant(v, dtype))
    if dtype.category == "float":
        values = [0.0, -0.0, 1.0, -2.5, 1 / 3, 7e4, np.inf, -np.inf, np.nan]
        return st.sampled_from(values).map(lambda v: constant(v, dtype))
    info = d.iinfo(dtype)
    edges = st.sampled_from([info.min, info.max, 0, 1, 2, 3])
    return edges.map(lambda v: constant(v, dtype))


@st.composite
def expressions(draw: st.DrawFn, dtype: DType, names: tuple[Scalar, ...], depth: int = 3) -> Scalar:
    leaves = [n for n in names if n.dtype is dtype]
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(leaves)) if leaves else draw(numbers(dtype))

    def part(wanted: DType) -> Scalar:
        return draw(expressions(wanted, names, depth - 1))

    kind = draw(st.integers(0, 7))
    if kind <= 1:
        rows = [name for name in names if isinstance(name, Index)]
        row, column = (
            draw(st.sampled_from(rows)) if draw(st.booleans()) else part(I64) for _ in "ab"
        )
        return Load(f"x_{dtype.name}", (call("mod", row, N), call("mod", column, M)), dtype)
    if kind == 2:
        return Load(f"p_{dtype.name}", (), dtype)
    if kind == 3:
        return Select(part(d.bool_), part(dtype), part(dtype))
    whole = [t for t in TYPES if t.category not in ("float", "complex")]
    if kind == 4:
        fits = dtype.is_inexact or dtype is d.bool_
        return Cast(part(draw(st.sampled_from(TYPES if fits else whole))), dtype)
    same = [t for t in TYPES if t.bits == dtype.bits and {t.rank, dtype.rank} <= {1, 2}]
    if kind == 5 and same:
        return Bitcast(part(draw(st.sampled_from(same))), dtype)
    name, source = draw(st.sampled_from(CHOICES[dtype]))
    return call(name, *(part(source) for _ in range(FUNCTIONS[name].arity)))


def exact_folds(dtype: DType, arity: int = 1) -> list[str]:
    """The rules that give the same in every order."""
    rounds = {"add", "mul"} if dtype.is_inexact else set()
    return [
        name
        for name, rule in COMBINES.items()
        if rule.arity == arity and dtype.category in rule.accepts and name not in rounds
    ]


@st.composite
def bodies(draw: st.DrawFn, a: DType, b: DType) -> Block:
    """Statements of every kind for one element, with random expressions."""
    i, j, k = Index("i"), Index("j"), Index("k")
    let, var = Local("v", a), Local("w", b)

    def some(dtype: DType, *names: Scalar) -> Scalar:
        return draw(expressions(dtype, (N, S, i, j, *names)))

    body: list[Statement] = [Let("v", some(a)), Var("w", some(b, let))]
    if exact_folds(b):
        fold = draw(st.sampled_from(exact_folds(b)))
        guarded: Statement = Accumulate(fold, ("w",), (some(b, k, let),))
        if draw(st.booleans()):
            guarded = Guard(some(d.bool_, k, let), (guarded,), ())
        body.append(Loop("k", draw(st.sampled_from([N, M])), "reduction", (guarded,)))
    names = [let, var]
    if exact_folds(b, 2) and draw(st.booleans()):
        body += [Var("best", some(b, let)), Var("at", some(I64, let))]
        values = (some(b, Index("q"), let), some(I64, Index("q"), let))
        fold = draw(st.sampled_from(exact_folds(b, 2)))
        body.append(Loop("q", M, "reduction", (Accumulate(fold, ("best", "at"), values),)))
        names += [Local("best", b), Local("at", I64)]
    if draw(st.integers(0, 3)) == 0:
        body.append(Check(some(d.bool_, *names), "value {0}", (some(I64, *names),)))
    step = Loop("m0", N, "sequential", (Assign("w", some(b, *names, Index("m0"))),))
    other = (Assign("w", some(b, *names)),) if draw(st.booleans()) else ()
    body.append(Guard(some(d.bool_, *names), (step,), other))
    body.append(Store("out", (i, j), some(b, *names)))
    if exact_folds(b) and draw(st.booleans()):
        fold = draw(st.sampled_from(exact_folds(b)))
        body.append(Store("out", (i, j), some(b, *names), fold))
    return tuple(body)


@st.composite
def nests(draw: st.DrawFn) -> LoopNest:
    a, b = draw(st.sampled_from(TYPES)), draw(st.sampled_from(TYPES))
    inner: Block = (Loop("j", M, "parallel", draw(bodies(a, b))),)
    if draw(st.booleans()):
        row = Buffer("t", b, (M,))
        fill = draw(expressions(b, (N, S, Index("i"), Index("j0"))))
        spread = Loop("j0", M, "parallel", (Store("t", (Index("j0"),), fill),))
        back = Load("t", (M - 1 - Index("j1"),), b)
        copy = Loop("j1", M, "parallel", (Store("last", (Index("i"), Index("j1")), back),))
    else:
        row = Buffer("t", b, ())
        spread = Loop("j0", M, "parallel", ())
        copy = Loop(
            "j1", M, "parallel", (Store("last", (Index("i"), Index("j1")), constant(0, b)),)
        )
    outputs = tuple(Buffer(name, b, (N, M)) for name in ("out", "last"))
    loop = Loop("i", N, "parallel", (Allocate(row), spread, *inner, copy))
    return LoopNest("f", (N, M, S), (*INPUTS, *ROOTS), outputs, (loop,))


def values_of(dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(11)
    if dtype.category == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_inexact:
        drawn = rng.integers(-6, 6, shape) / 4
        special = np.where(rng.integers(0, 12, shape) == 0, np.nan, drawn)
        return np.asarray(special, dtype.compute)
    info = d.iinfo(dtype)
    return rng.integers(max(info.min, -9), 9 + 2**5, shape).astype(dtype.compute)


@settings(max_examples=60)
@given(nests(), st.sampled_from([(3, 7), (2, 11), (1, 1), (3, 0)]))
def test_machine_code_gives_what_the_interpreter_gives(
    nest: LoopNest, shape: tuple[int, int]
) -> None:
    verify(nest)
    arrays = [values_of(b.dtype, shape) for b in INPUTS] + [values_of(b.dtype, ()) for b in ROOTS]
    arguments = {"n": shape[0], "m": shape[1], "s": 0.75}
    with np.errstate(all="ignore"):
        check_same(nest, arrays, arguments, 0, only=("quick16", "quick8"))
        check_same(simplify_nest(nest), arrays, arguments, 0, only=("short8",))
