"""The text form: what it looks like, that it reads back, and how bad text is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base import dtypes as d
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, TalwegError
from talweg.loops.build import NestBuilder
from talweg.loops.functions import COMBINES, FUNCTIONS
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Buffer,
    Check,
    Guard,
    Let,
    Loop,
    LoopNest,
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
from talweg.loops.text import format_nest, format_scalar, parse

MATMUL = """\
def matmul(
    x_0: int64, x_1: int64, y_0: int64, y_1: int64,
    x: input[float16, x_0, x_1],
    y: input[float16, y_0, y_1],
    out: output[float16, x_0, y_1],
):
    for i0 in parallel(x_0):
        for i1 in parallel(y_1):
            s0: var[float32] = float32(0.0)
            for k0 in reduction(x_1):
                s0.add(cast(x[i0, k0], float32) * cast(y[k0, i1], float32))
            out[i0, i1] = cast(s0, float16)
"""


def test_matmul_reads_like_the_loops_it_means() -> None:
    nest = NestBuilder("matmul")
    x, y = nest.input("x", d.float16, (2, 3)), nest.input("y", d.float16, (3, 4))
    out = nest.output("out", d.float16, (x.shape[0], y.shape[1]))
    nest.pointwise(
        (out,), lambda i: nest.dot([x.shape[1]], lambda k: (x[i[0], k[0]], y[k[0], i[1]]))
    )
    assert format_nest(nest.build().nest) == MATMUL
    assert parse(MATMUL.replace("matmul", "add")).name == "add"


def test_operators_keep_their_grouping() -> None:
    i, j = Index("i"), Index("j")
    texts = {
        "(i + j) * 3": (i + j) * 3,
        "i - (j - 3)": i - (j - 3),
        "i - j - 3": i - j - 3,
        "-(i + j) % 4": -(i + j) % 4,
        "i < j & 3": i < (j & 3),
        "neg(-3)": -constant(-3, d.int64),
        "(i < j) == (j < i)": call("eq", i < j, j < i),
    }
    for text, value in texts.items():
        assert format_scalar(value) == text


# -- round trip of random nests

I64, BOOL = d.int64, d.bool_
N, S = Argument("n", I64), Argument("s", d.float32)
INPUTS = tuple(Buffer(f"x_{t.name}", t, (N, N)) for t in d.ALL)
ROOTS = tuple(Buffer(f"p_{t.name}", t, ()) for t in d.ALL)


def numbers(dtype: DType) -> st.SearchStrategy[Scalar]:
    if dtype.category == "bool":
        return st.booleans().map(lambda v: constant(v, dtype))
    if dtype.category in ("int", "uint"):
        info = d.iinfo(dtype)
        return st.integers(info.min, info.max).map(lambda v: constant(v, dtype))
    if dtype.is_complex:
        return st.complex_numbers(width=64).map(lambda v: constant(v, dtype))
    return st.floats().map(lambda v: constant(v, dtype))


@st.composite
def expressions(draw: st.DrawFn, dtype: DType, names: tuple[Scalar, ...], depth: int = 3) -> Scalar:
    leaves = [n for n in names if n.dtype is dtype]
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        if leaves and draw(st.booleans()):
            return draw(st.sampled_from(leaves))
        return draw(numbers(dtype))

    def part(wanted: DType) -> Scalar:
        return draw(expressions(wanted, names, depth - 1))

    kind = draw(st.integers(0, 6))
    if kind == 0:
        return Load(f"x_{dtype.name}", (part(I64), part(I64)), dtype)
    if kind == 1:
        return Load(f"p_{dtype.name}", (), dtype)
    if kind == 2:
        return Select(part(BOOL), part(dtype), part(dtype))
    if kind == 3:
        return Cast(part(draw(st.sampled_from(d.ALL))), dtype)
    equal = [t for t in d.REALS if t.bits == dtype.bits and dtype in d.REALS]
    if kind == 4 and equal:
        return Bitcast(part(draw(st.sampled_from(equal))), dtype)
    choices = [
        (name, source)
        for name, f in FUNCTIONS.items()
        for source in d.ALL
        if source.category in f.accepts
        and not (f.result == "complex" and source.bits < 32)
        and f.result_dtype(source) is dtype
    ]
    name, source = draw(st.sampled_from(choices))
    return call(name, *(part(source) for _ in range(FUNCTIONS[name].arity)))


@st.composite
def nests(draw: st.DrawFn) -> LoopNest:
    """Every kind of statement once, with random expressions in every place."""
    a, b = draw(st.sampled_from(d.ALL)), draw(st.sampled_from(d.ALL))
    i, k, q = Index("i"), Index("k"), Index("q")
    let, var, at = Local("v", a), Local("w", b), Local("at", I64)
    outer = (N, S, i)

    def some(dtype: DType, *names: Scalar) -> Scalar:
        return draw(expressions(dtype, (*outer, *names)))

    folds = [c for c, r in COMBINES.items() if b.category in r.accepts and r.arity == 1]
    fold, stored = draw(st.sampled_from(folds)), draw(st.sampled_from(folds))
    folding = Loop("k", some(I64), "reduction", (Accumulate(fold, ("w",), (some(b, k, let),)),))
    pair: tuple[Var | Loop, ...] = ()
    if not b.is_complex:
        best = (some(b, q, let), some(I64, q, let))
        fold_pair = Accumulate(draw(st.sampled_from(["argmax", "argmin"])), ("best", "at"), best)
        pair = (Var("best", some(b)), Var("at", some(I64)), Loop("q", N, "reduction", (fold_pair,)))
    names = (let, var, at) if pair else (let, var)
    body = (
        Let("v", some(a)),
        Var("w", some(b)),
        folding,
        *pair,
        Check(some(BOOL, *names), draw(st.text(max_size=8)), (some(I64, *names),)),
        Allocate(Buffer("t", b, (some(I64, *names), N))),
        Store("t", (some(I64, *names), i), some(b, *names)),
        Guard(
            some(BOOL, *names),
            (Assign("w", some(b, *names)), Loop("m", N, "sequential", ())),
            (Store("out", (i, some(I64)), some(b, *names), stored),) if draw(st.booleans()) else (),
        ),
        Store("out", (i, some(I64)), some(b, *names)),
    )
    loop = Loop("i", some_extent(draw), "parallel", body)
    return LoopNest("f", (N, S), (*INPUTS, *ROOTS), (Buffer("out", b, (N, N)),), (loop,))


def some_extent(draw: st.DrawFn) -> Scalar:
    return draw(expressions(I64, (N, S)))


@settings(max_examples=80)
@given(nests())
def test_random_nests_print_and_parse_back(nest: LoopNest) -> None:
    text = format_nest(nest)
    again = parse(text)
    assert again == nest
    assert hash(again) == hash(nest)
    assert format_nest(again) == text


# -- refusals

GOOD = """\
def f(
    n: int64,
    x: input[float32, n],
    out: output[float32, n],
):
    for i in parallel(n):
        out[i] = x[i]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x[i]", "x[i", "was never closed"),
        ("x[i]", "y[i]", "line 7: 'y' is not a buffer"),
        ("x[i]", "x[m]", "line 7: expected an expression of known names, got 'm'"),
        ("x[i]", "x[i] + 1", "line 7: add needs operands of one dtype, got float32, int64"),
        ("x[i]", "quux(x[i])", "line 7: 'quux' is not a function"),
        ("x[i]", "float32(True and 1)", "expected a number"),
        ("parallel", "backwards", "line 6: loop order 'backwards'"),
        ("float32, n],\n    out", "float31, n],\n    out", "'float31' is not a dtype"),
        ("output", "inout", r"expected input\[...\] or output\[...\]"),
        ("        out[i] = x[i]", "        return x[i]", "line 7: expected a statement"),
        ("x[i]", "int8(300)", "line 7: 300 does not fit int8"),
        ("out[i] = x[i]", "exp: float32 = x[i]", "'exp' is a word of the language"),
        ("def f(", "x = 1\ndef f(", "the text of a nest is one `def"),
    ],
)
def test_bad_text_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert format_nest(parse(GOOD)) == GOOD
    with pytest.raises(GraphError, match=message):
        parse(GOOD.replace(old, new, 1))


def test_constants_are_exact() -> None:
    for dtype in d.FLOATS:
        for value in (0.1, -0.0, np.inf, -np.inf, np.nan, 1e-40):
            text = GOOD.replace("float32", dtype.name)
            written = format_scalar(constant(value, dtype))
            nest = parse(text.replace("x[i]", written))
            (loop,) = nest.body
            assert isinstance(loop, Loop)
            (store,) = loop.body
            assert isinstance(store, Store)
            assert store.value == constant(value, dtype)
    assert constant(-0.0, d.float32) != constant(0.0, d.float32)
    with pytest.raises(TalwegError):
        constant(0.5, d.int32)
