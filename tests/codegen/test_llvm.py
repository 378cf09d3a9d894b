"""The text that is written, and what nests mean where samples of ops do not show it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, IndexOutOfRange
from talweg.codegen.cpu import compile_text, host
from talweg.codegen.llvm import emit as emit_staged
from talweg.codegen.object import compile_nest
from talweg.ir.types import tensor_type
from talweg.loops import recipes
from talweg.loops.build import Lowered, NestBuilder
from talweg.loops.functions import COMBINES, FUNCTIONS
from talweg.loops.interpret import interpret
from talweg.loops.nest import LoopNest
from talweg.loops.operand import Indices, Operand
from talweg.loops.scalar import Bitcast, Constant, Scalar, cast
from talweg.loops.text import parse
from talweg.ops import OPS
from talweg.runtime.jit import Kernel
from talweg.schedule.loops import Loops, staged
from talweg.schedule.place import placed
from talweg.schedule.vectors import Choice, choose
from tests.codegen.machine import check_same, close, launch, launch_nest, targets
from tests.suite.cases import cases_of, lowered


def emit(nest: LoopNest) -> str:
    return emit_staged(staged(nest, Loops(), host()), host())


EXACT = {
    "fma", "sqrt", "fabs", "copysign", "floor", "ceil", "trunc", "roundeven", "ctlz", "cttz",
    "masked", "prefetch", "vector", "x86",
}  # fmt: skip


@pytest.mark.parametrize("op", [op for op in OPS if op.lowered], ids=lambda op: op.name())
def test_addresses_are_made_by_gep_and_nothing_is_called_outside(op: type) -> None:
    for case in cases_of(op)[:3]:
        made = lowered(case.op, [tensor_type(t, v.shape) for v, t in case.values()])
        text = emit(made.nest)
        assert not re.search(r"\b(ptrtoint|inttoptr|fast|reassoc|contract)\b", text)
        for name in re.findall(r"^declare [^@]*@([\w.]+)", text, re.M):
            assert name.startswith("llvm."), name
            assert name.split(".")[1] in EXACT, name
        for size in re.findall(r"(?:load|store) (.*), align (\d+)", text):
            assert int(size[1]) <= 8, size


DTYPES = [d.float32, d.float16, d.int8]
SLOW = [pytest.param(t, marks=pytest.mark.slow) for t in (d.float64, d.complex64, d.complex128)]


@pytest.mark.parametrize("dtype", [*DTYPES, *SLOW], ids=lambda t: t.name)
def test_no_function_needs_a_library_even_on_an_old_machine(dtype: DType) -> None:
    """Loading links against nothing: a call of a library function would fail here."""
    for name, function in FUNCTIONS.items():
        if dtype.category in function.accepts and name != "complex":
            made = call_of(name, dtype)
            code = compile_nest(made.nest, targets()["sse2" if "sse2" in targets() else "host"])
            Kernel(code.code, code.signature)


def call_of(name: str, dtype: DType) -> Lowered:
    nest = NestBuilder(name)
    x = nest.input("x", dtype, (5,))
    out = nest.output("out", FUNCTIONS[name].result_dtype(dtype), x.shape)
    nest.pointwise([out], lambda i: getattr(nest, name)(*[x[i]] * FUNCTIONS[name].arity))
    return nest.build()


def scaled(dtype: DType, n: int) -> Lowered:
    nest = NestBuilder("scaled")
    x = nest.input("x", dtype, (n,))
    out = nest.output("out", dtype, x.shape)
    factor = nest.number(
        {"bool": True, "uint": 200, "complex": 2 - 0.5j}.get(dtype.category, 3), dtype
    )
    nest.pointwise([out], lambda i: x[i] * factor)
    return nest.build()


@pytest.mark.parametrize("dtype", d.ALL, ids=lambda t: t.name)
def test_arguments_of_every_dtype_and_every_rest_of_a_vector(dtype: DType) -> None:
    made = scaled(dtype, 1)
    code = compile_nest(made.nest, host())
    kernel = Kernel(code.code, code.signature)
    for n in (0, 1, 2, 3, 15, 16, 17, 67, 200):
        x = np.arange(n).astype(dtype.compute)
        values = made.values | {"x_0": n}
        (got,) = launch(kernel, made.nest, [x], values)
        (want,) = interpret(made.nest, [x], values)
        close(got, want, dtype, 1, 0.0)


def test_one_kernel_serves_every_size_and_misaligned_memory() -> None:
    made = scaled(d.float32, 1)
    code = compile_nest(made.nest, host())
    kernel = Kernel(code.code, code.signature)
    raw = np.zeros(4 * 300 + 1, np.uint8)
    for n in (0, 1, 33, 300):
        x = raw[1 : 1 + 4 * n].view(np.float32)
        x[:] = np.arange(n)
        out = np.full(n + 1, 7, np.float32)
        kernel.call([x.ctypes.data, out.ctypes.data], [n, 3.0])
        np.testing.assert_array_equal(out, [*(3.0 * np.arange(n)), 7])
        kernel.call([x.ctypes.data, x.ctypes.data], [n, 3.0])
        np.testing.assert_array_equal(x, 3.0 * np.arange(n))


@pytest.mark.parametrize("source", d.ALL, ids=lambda t: t.name)
def test_casts_and_bitcasts(source: DType) -> None:
    def rule(nest: NestBuilder, x: Operand, t: DType) -> None:
        out = nest.output(f"out_{t.name}", t, x.shape)
        nest.pointwise([out], lambda i: cast(x[i], t))

    nest = NestBuilder("casts")
    values = [0, 1, 2, 3, 5, 100, 101, 77, 0.3, 1e-6, 3e-8, 127]
    if source.category in ("float", "complex"):
        values += [-1, -2.7, 1 / 3, 1e-7]
    x = np.array(values).astype(source.compute)
    if source is d.bfloat16:
        x = d.round_to_bfloat16(x)
    operand = nest.input("x", source, x.shape)
    small = source.category in ("float", "complex")
    for t in d.ALL:
        if not (small and t.category == "uint"):
            rule(nest, operand, t)
    if source.category in ("int", "uint", "float"):
        for t in (t for t in d.REALS if t.bits == source.bits):
            out = nest.output(f"bits_{t.name}", t, operand.shape)
            nest.pointwise([out], lambda i, t=t: Bitcast(operand[i], t))
    made = nest.build()
    check_same(made.nest, [x], made.values, 0, only=("host", "short16", "sse2"))


def near_halves(wide: DType) -> np.ndarray:
    """Halves, the points between two of them, and their neighbours."""
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 2**16, 3000).astype(np.uint16).view(np.float16)
    step = np.spacing(np.abs(halves)).astype(wide.compute)
    x = halves.astype(wide.compute)
    x = np.concatenate([x, x + step / 2, x + step / 2 * (1 + 2.0**-12)])
    x = np.concatenate([x, x * (1 + np.finfo(wide.compute).eps), [65519.9, 65520, 1e9, np.inf]])
    return x.astype(wide.compute)


@pytest.mark.parametrize("wide", [d.float32, d.float64], ids=lambda t: t.name)
def test_halves_are_rounded_as_numpy_rounds_them(wide: DType) -> None:
    """On float64 they are made without rounding twice; on old machines without instructions."""
    with np.errstate(all="ignore"):
        x = near_halves(wide)
    nest = NestBuilder("rounding")
    operand = nest.input("x", wide, x.shape)
    for t in (d.float16, d.bfloat16):
        out = nest.output(f"out_{t.name}", t, operand.shape)
        nest.pointwise([out], lambda i, t=t: cast(operand[i], t))
    made = nest.build()
    with np.errstate(all="ignore"):
        check_same(made.nest, [x], made.values, 0, only=("short16", "sse2"))


@pytest.mark.parametrize("combine", sorted(COMBINES))
def test_folds_of_every_rule_over_long_rows(combine: str) -> None:
    rule = COMBINES[combine]
    for dtype in (t for t in d.ALL if t.category in rule.accepts):
        if dtype.bits == 16 and combine == "mul":
            continue  # products of many halves are all rounding
        x = np.random.default_rng(5).integers(0, 4, (3, 151)).astype(dtype.compute)
        if combine == "mul":
            x = np.where(x > 2, 2, 1).astype(dtype.compute)
            x[:, 50:] = 1
        if dtype.category == "float" and combine != "mul":
            x[1, 77] = np.nan
        nest = NestBuilder("fold")
        operand = nest.input("x", dtype, x.shape)
        make = nest.arg_reduction if rule.arity == 2 else nest.reduction
        out = nest.output("out", d.int64 if rule.arity == 2 else dtype, operand.shape[:1])
        nest.pointwise([out], make(operand, combine, (1,)))
        made = nest.build()
        check_same(made.nest, [x], made.values, 4, only=("host", "short8"))


def gather(shape: tuple[int, ...]) -> Lowered:
    nest = NestBuilder("gather")
    x = nest.input("x", d.float32, (7, *shape[1:]))
    index = nest.input("index", d.int32, shape)
    out = nest.output("out", d.float32, index.shape)

    def point(i: Indices) -> Scalar:
        at = nest.bounded(index[i], x.shape[0], 0)
        return x[at, *i[1:]]

    nest.pointwise([out], point)
    return nest.build()


@pytest.mark.parametrize("where", [0, 1, 18, 39, None])
def test_a_failed_check_reports_its_first_index(where: int | None) -> None:
    made = gather((40,))
    x = np.arange(7, dtype=np.float32)
    index = np.arange(40, dtype=np.int32) % 7
    if where is not None:
        index[where] = 7 + where
        index[where + 1 :] = -1
    check_same(made.nest, [x, index], made.values)


def test_a_check_under_a_mask_only_looks_at_living_lanes() -> None:
    nest = NestBuilder("masked")
    x, index = nest.input("x", d.float32, (9,)), nest.input("index", d.int64, (41,))
    out = nest.output("out", d.float32, index.shape)

    def point(i: Indices) -> Scalar:
        at = nest.let(index[i])
        return nest.select(at < 100, lambda: x[nest.bounded(at, x.shape[0], 0)], 5.0)

    nest.pointwise([out], point)
    made = nest.build()
    index_values = np.arange(41) % 9
    index_values[::3] = 100
    x_values = np.arange(9, dtype=np.float32)
    check_same(made.nest, [x_values, index_values], made.values)
    index_values[22] = 12
    check_same(made.nest, [x_values, index_values], made.values)


TRAPS = """\
def traps(
    n: int64, m: int64,
    x: input[float32, n, m],
    y: input[float32, m],
    out: output[float32, n, m],
):
    for i in parallel(n):
        for j in parallel(m):
            s: var[float32] = float32(0.0)
            t: var[int64] = 0
            if x[i, j] < float32(0.5):
                for k in sequential(3):
                    if j + k < m:
                        s = s + y[j + k]
                        t = t + k
                    else:
                        s = s - float32(1.0)
            else:
                s.add(select(i < 2, y[m - 1 - j], x[i, 0]))
            out[i, j] = s
            out[i, j].add(cast(t, float32))
            if j % 2 == 0:
                out[i, j].maximum(y[0])
"""


def test_guards_selects_and_folding_stores_by_mask() -> None:
    rng = np.random.default_rng(6)
    for n, m in ((3, 21), (2, 1), (0, 4), (4, 0)):
        arrays = [rng.random((n, m), np.float32), rng.random(m, np.float32)]
        check_same(parse(TRAPS), arrays, {"n": n, "m": m}, 2)


def test_reading_in_reverse_across_and_in_steps() -> None:
    nest = NestBuilder("reads")
    x = nest.input("x", d.float64, (23, 29))
    flipped = nest.output("flipped", d.float64, x.shape)
    turned = nest.output("turned", d.float64, (x.shape[1], x.shape[0]))
    skipped = [nest.output(f"skipped{n}", d.float64, (x.shape[0], 5)) for n in (2, 3, 4, 5)]
    folded = nest.output("folded", d.float64, (x.shape[0],))
    shifted = nest.output("shifted", d.complex64, (x.shape[0], 10))
    nest.pointwise([flipped], lambda i: x[i[0], x.shape[1] - 1 - i[1]])
    nest.pointwise([turned], lambda i: x[i[1], i[0]])
    for n, out in enumerate(skipped, 2):
        nest.pointwise([out], lambda i, n=n: x[i[0], i[1] * n + 3])
    nest.pointwise([folded], lambda i: nest.fold("maximum", [7], lambda k: x[i[0], k[0] * 3]))
    nest.pointwise([shifted], lambda i: cast(x[i[0], (i[1] + i[0]) % 29], d.complex64))
    made = nest.build()
    x_values = np.random.default_rng(7).random((23, 29))
    check_same(made.nest, [x_values], made.values, 0)


@pytest.mark.parametrize("dtype", [d.float32, d.bool_, d.float16, d.float64, d.uint8, d.complex64])
def test_transposed_copies(dtype: DType) -> None:
    for shape in ((1, 1, 1), (2, 3, 40), (1, 37, 18), (3, 0, 5), (1, 70, 5)):
        nest = NestBuilder("turned")
        x = nest.input("x", dtype, shape)
        y = nest.input("y", dtype, (x.shape[0], x.shape[2], x.shape[1]))
        turned = nest.output("turned", dtype, y.shape)
        both = nest.output("both", d.float32, y.shape)

        def point(i: Indices, x: Operand = x, y: Operand = y) -> tuple[Scalar, ...]:
            at = i[0], i[2], i[1]
            return x[at], cast(x[at], d.float32) + cast(y[i], d.float32)

        nest.pointwise([turned, both], point)
        made = nest.build()
        values = [np.random.default_rng(9).integers(0, 9, s).astype(dtype.compute) for s in
                  (shape, (shape[0], shape[2], shape[1]))]  # fmt: skip
        check_same(made.nest, values, made.values, 0)


@pytest.mark.parametrize("again", [1, 3, 18])
def test_transposed_copies_along_an_axis_that_is_not_read(again: int) -> None:
    nest = NestBuilder("repeated")
    x = nest.input("x", d.float32, (4, 5, 17))
    out = nest.output("out", d.float32, (4, 17, again, 5))
    nest.pointwise([out], lambda i: x[i[0], i[3], i[1]] * x[i[0], i[3], i[1]])
    made = nest.build()
    values = np.random.default_rng(9).random((4, 5, 17), np.float32)
    check_same(made.nest, [values], made.values, 0)


def test_scratch_is_counted_before_the_kernel_runs() -> None:
    nest = NestBuilder("sort")
    x = nest.input("x", d.int64, (3, 50))
    nest.output("out", d.int64, x.shape)
    recipes.arg_sort(nest, x, 1)
    made = nest.build()
    compiled = compile_nest(made.nest, host())
    kernel = Kernel(compiled.code, compiled.signature)
    assert compiled.signature.scratch
    values = [made.values[a.name] for a in made.nest.arguments]
    assert kernel.sizes(values)[:3] == (-(-2 * 50 * 8 // 64) * 64, 0, 3)
    x_values = np.random.default_rng(8).integers(0, 9, (3, 50))
    check_same(made.nest, [x_values], made.values)


def test_scratch_of_a_size_that_is_not_known_before_is_refused() -> None:
    text = """\
def f(
    n: int64,
    out: output[float32, n],
):
    for i in parallel(n):
        t: local[float32, i + 1]
        t[i] = float32(1.0)
        out[i] = t[i]
"""
    with pytest.raises(GraphError, match="f: the size of scratch memory must be made of arguments"):
        compile_nest(parse(text), host())


def test_signature_says_how_to_call() -> None:
    made = gather((4, 2))
    signature = compile_nest(made.nest, host()).signature
    assert signature.name.startswith("kernel_gather")
    assert signature.buffers == 3
    assert signature.formats == "q" * len(made.nest.arguments)
    (message,) = signature.messages
    assert message.startswith("index {0} is out of range for axis 0 of size {1};")
    assert (signature.reported, signature.stages) == (2, 1)
    assert (signature.scratch, signature.shared) == (False, False)


def test_names_of_other_alphabets() -> None:
    nest = NestBuilder("größe")
    x = nest.input("λ", d.float32, (3,))
    out = nest.output("out", d.float32, x.shape)
    nest.pointwise([out], lambda i: x[i] + 1)
    made = nest.build()
    (got,) = launch_nest(made.nest, [np.zeros(3, np.float32)], made.values)
    assert got.tolist() == [1, 1, 1]


def matmul() -> Lowered:
    nest = NestBuilder("matmul")
    x, y = nest.input("x", d.float32, (9, 40)), nest.input("y", d.float32, (40, 70))
    out = nest.output("out", d.float32, (x.shape[0], y.shape[1]))
    nest.pointwise(
        [out], lambda i: nest.dot([x.shape[1]], lambda k: (x[i[0], k[0]], y[k[0], i[1]]))
    )
    return nest.build()


def test_vectors_run_along_memory() -> None:
    """A product is a vector of columns; a row sum, of what it sums; a column sum, of columns."""
    chosen = choose(placed(matmul().nest), targets()["short16"])
    assert chosen == {"i1": Choice((16,), 4) if host().masks(32) else Choice((16, 4), 1)}
    for axes, index in (((1,), "k0"), ((0,), "i0")):
        nest = NestBuilder("sum")
        x = nest.input("x", d.float32, (5, 6))
        kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
        out = nest.output("out", d.float32, kept)
        nest.pointwise([out], nest.reduction(x, "add", axes))
        assert set(choose(placed(nest.build().nest), host())) == {index}


def test_sums_and_products_are_fused_in_reductions_only() -> None:
    text = emit(matmul().nest)
    assert ("llvm.fma" in text) == host().fma
    nest = NestBuilder("chain")
    x = nest.input("x", d.float32, (9,))
    out = nest.output("out", d.float32, x.shape)
    nest.pointwise([out], lambda i: x[i] * x[i] + x[i])
    assert "llvm.fma" not in emit(nest.build().nest)


def test_a_module_that_llvm_rejects_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        compile_text("define i32 @f() { ret i64 0 }", host())


def test_constants_are_exact() -> None:
    values = [0.1, -0.0, float("inf"), float("nan"), 1e-40, 3.4e38]
    nest = NestBuilder("constants")
    out = nest.output("out", d.float32, (len(values),))
    wide = nest.output("wide", d.uint64, (2,))
    for n, value in enumerate(values):
        nest.store(out, [n], nest.constant(value, d.float32))
    for n, number in enumerate((2**64 - 1, 2**63)):
        nest.store(wide, [n], Constant(str(number), d.uint64))
    made = nest.build()
    for one, other in zip(
        launch_nest(made.nest, [], made.values), interpret(made.nest, [], made.values)
    ):
        assert one.tobytes() == other.tobytes()


def test_out_of_range_is_an_index_error() -> None:
    made = gather((1,))
    with pytest.raises(IndexOutOfRange, match="index -3 is out of range for axis 0 of size 7"):
        launch_nest(made.nest, [np.zeros(7, np.float32), np.array([-3], np.int32)], made.values)
