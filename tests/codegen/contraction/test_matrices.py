"""Products of bfloat16 in registers that are matrices: against float64, in every way to read."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.codegen import contraction
from talweg.codegen.cpu import compile_text, host
from talweg.loops.build import NestBuilder
from talweg.loops.interpret import interpret
from talweg.loops.nest import LoopNest
from talweg.loops.operand import Operand
from talweg.loops.scalar import Argument, Cast, Constant, Number, Select
from talweg.loops.text import format_scalar, parse
from talweg.ops.contract import Dot
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import choose
from talweg.schedule.contraction import Contraction, Order, recognise
from talweg.schedule.contraction_pairs import is_bfloat16
from talweg.schedule.contraction_tiles import Tiles, ways
from talweg.schedule.place import plain
from talweg.schedule.target import Target
from tests.codegen.contraction.nests import Laid, inverse, placed
from tests.codegen.contraction.test_kernels import operands
from tests.codegen.machine import launch

MACHINE = Target(
    "x86_64-unknown-linux-gnu",
    "sapphirerapids",
    "+amx-bf16,+amx-tile,+avx2,+avx512bw,+avx512f,+avx512vl,+f16c,+fma",
)
CUTS = [
    Tiles(32, 2, "depth", "columns"),
    Tiles(32, 2, "depth", "columns", near=True, piece=32),
    Tiles(32, 2, "depth", "columns", piece=384, splits=4),
]
SIZES = [(37, 50, 70), (1, 1, 1), (64, 9, 33), (4, 0, 4), (5, 17, 3), (9, 901, 65), (64, 64, 32)]
ORDERS = [((0, 1), (0, 1)), ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (1, 0))]
needs_matrices = pytest.mark.skipif(
    not host().matrices, reason="this machine has no matrix registers, or may not use them"
)


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return dtypes.round_to_bfloat16(values)


def dot_nest(
    orders: Sequence[tuple[int, ...]], shapes: Sequence[tuple[int, int]]
) -> tuple[LoopNest, Mapping[str, Number]]:
    """bfloat16 @ bfloat16 -> float32, of operands that lie in memory in any order."""
    nest = NestBuilder("dot")
    operands = []
    for n, (shape, order) in enumerate(zip(shapes, orders)):
        made = nest.input(f"x{n}", dtypes.bfloat16, [shape[a] for a in order])
        sizes = tuple(made.shape[order.index(a)] for a in (0, 1))
        operands.append(
            Operand(
                dtypes.float32,
                sizes,
                lambda i, made=made, o=order: nest.cast(
                    made.read(tuple(i[a] for a in o)), dtypes.float32
                ),
            )
        )
    out = nest.output("out", dtypes.float32, [shapes[0][0], shapes[1][1]])
    nest.pointwise([out], Dot().lower(nest, *operands))
    made = nest.build()
    return made.nest, made.values


def paired(orders: Sequence[tuple[int, ...]], swapped: bool = False) -> Contraction:
    found = recognise(dot_nest(orders, [(5, 6), (6, 7)])[0], Order(swapped, paired=True))
    assert found is not None
    assert found.in_matrices
    return found


def check(got: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Errors of rounding: some of the sum of magnitudes, whatever the order."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    bound = (abs(a) @ abs(b)) * 2.0**-22 * max(a.shape[-1], 1) ** 0.5
    assert (abs(got - a @ b) <= bound).all()


@needs_matrices
@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("orders", ORDERS, ids=str)
def test_products_are_those_of_float64_in_every_way(
    orders: tuple[tuple[int, int], tuple[int, int]], swapped: bool
) -> None:
    found, target = paired(orders, swapped), host()
    ((left, right),) = ways(found, target)  # what is copied in pairs is copied in one way
    for cut in CUTS:
        tiles = replace(cut, left=left, right=right, order=Order(swapped, paired=True))
        text, signature = contraction.emit(found, tiles, target)
        assert "tdpbf16ps" in text
        kernel = Kernel(compile_text(text, target), signature)
        for m, k, columns in SIZES:
            x, y = drawn((m, k), m), drawn((k, columns), columns)
            here, values = dot_nest(orders, [(m, k), (k, columns)])
            assert here == found.source
            given = [np.ascontiguousarray(a.transpose(o)) for a, o in zip((x, y), orders)]
            (got,) = launch(kernel, here, given, values)
            check(got, x, y)


@needs_matrices
def test_what_lies_beyond_an_odd_depth_is_never_multiplied() -> None:
    """Infinities beside the operands, in memory: what is next to the last element of a row."""
    found, target = paired(ORDERS[0]), host()
    (left, right) = next(iter(ways(found, target)))
    tiles = Tiles(32, 2, left, right, order=Order(paired=True))
    text, signature = contraction.emit(found, tiles, target)
    kernel = Kernel(compile_text(text, target), signature)
    for k in (1, 3, 31, 33):
        x, y = drawn((40, k), k), drawn((k, 40), k + 1)
        x[1:, 0] = np.inf  # follows the last element of the row before
        here, values = dot_nest(ORDERS[0], [x.shape, y.shape])
        (got,) = launch(kernel, here, [x, y], values)
        check(got[:1], x[:1], y)
        with np.errstate(invalid="ignore"):
            want = x[1:].astype(np.float64) @ y
        np.testing.assert_array_equal(np.isnan(got[1:]), np.isnan(want))
        np.testing.assert_array_equal(got[1:][np.isinf(want)], want[np.isinf(want)])


@pytest.mark.parametrize("orders", ORDERS, ids=str)
def test_pairs_hold_two_neighbours_of_the_depth(
    orders: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    """On every machine: what copies of factors hold, by the interpreter."""
    found = paired(orders)
    shapes = [(3, 7), (7, 2)]
    _, values = dot_nest(orders, shapes)
    given = [drawn(shape, n) for n, shape in enumerate(shapes)]
    arrays = [np.ascontiguousarray(a.transpose(o)).ravel() for a, o in zip(given, orders)]
    sizes = {f"size{n}": a.size for n, a in enumerate(arrays)}
    row, column, depth = (axes[-1].index for axes in (found.rows, found.columns, found.depth))
    for factor, index, expected in (
        (found.left, row, given[0]),
        (found.right, column, given[1].T),
    ):
        arguments = "".join(f"    {a.name}: int64,\n" for a in found.nest.arguments)
        buffers = "".join(
            f"    size{n}: int64,\n    {b.name}: input[bfloat16, size{n}],\n"
            for n, b in enumerate(found.nest.inputs)
        )
        nest = parse(
            f"def pairs(\n{arguments}    p: int64,\n    q: int64,\n{buffers}"
            "    out: output[int32, p, q],\n):\n"
            f"    for {index} in parallel(p):\n        for {depth} in parallel(q):\n"
            f"            out[{index}, {depth}] = {format_scalar(plain(factor))}\n"
        )
        (got,) = interpret(nest, arrays, {**values, **sizes, "p": len(expected), "q": 4})
        halves = np.zeros((len(expected), 8), np.uint16)
        halves[:, :7] = expected.view(np.uint32) >> 16
        np.testing.assert_array_equal(got, halves.view(np.int32))


CONVOLUTIONS = [
    (((1, 1), ((1, 1), (1, 1)), (1, 1), 1), (2, 64, 7, 6), (40, 64, 3, 3)),
    (((2, 2), ((1, 1), (1, 1)), (1, 1), 1), (3, 32, 9, 8), (33, 32, 3, 3)),
    (((2, 2), ((3, 3), (3, 3)), (1, 1), 1), (1, 3, 12, 11), (8, 3, 7, 7)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1), 1), (3, 48, 5, 7), (20, 48, 1, 1)),
    (((2, 2), ((0, 0), (0, 0)), (1, 1), 1), (2, 70, 6, 8), (36, 70, 1, 1)),
    (((1, 2), ((0, 2), (1, 0)), (1, 2), 2), (2, 18, 7, 6), (12, 9, 2, 3)),
]


@needs_matrices
@pytest.mark.parametrize("kind", ["forward", "input", "weight"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_convolutions_are_those_of_float64(kind: str, case: tuple, last: bool) -> None:  # type: ignore[type-arg]
    op, shapes, orders = operands(kind, *case)
    laid = Laid(op, dtypes.bfloat16, shapes, orders if last else None)
    given = [drawn(shape, n) for n, shape in enumerate(shapes)]
    want, magnitude = (
        np.asarray(op.reference(*(change(a.astype(np.float64)) for a in given)))
        for change in (np.asarray, np.abs)
    )
    bound = 2.0**-8 * abs(want) + 2.0**-20 * magnitude
    placed_ = [placed(a, o) for a, o in zip(given, laid.orders)]
    values = {a.name: v for a, v in zip(laid.nest.arguments, laid.values, strict=True)}
    tested = 0
    for swapped, inner in itertools.product((False, True), range(4)):
        order = Order(swapped, inner, paired=True)
        contracted = recognise(laid.nest, order)
        if contracted is None or not contracted.rows:
            continue
        for left, right in ways(contracted, host()):
            cut = CUTS[tested % len(CUTS)]
            tiles = replace(cut, left=left, right=right, order=order)
            text, signature = contraction.emit(contracted, tiles, host())
            assert "tdpbf16ps" in text
            kernel = Kernel(compile_text(text, host()), signature)
            (got,) = launch(kernel, laid.nest, placed_, values)
            got = got.transpose(inverse(laid.orders[-1]))
            assert (abs(got - want) <= bound).all()
            tested += 1
    assert tested


def test_only_bfloat16_is_multiplied_in_matrices() -> None:
    half, zero = (
        Cast(Argument("a", dtypes.bfloat16), dtypes.float32),
        Constant("0.0", dtypes.float32),
    )
    condition = Argument("c", dtypes.bool_)
    assert is_bfloat16(half)
    assert is_bfloat16(Select(condition, half, zero))
    assert not is_bfloat16(Select(condition, half, Constant("0.5", dtypes.float32)))
    assert not is_bfloat16(Cast(Argument("a", dtypes.float16), dtypes.float32))
    assert not is_bfloat16(Cast(Argument("a", dtypes.bfloat16), dtypes.float64))
    assert not is_bfloat16(Argument("a", dtypes.float32))


def test_matrices_are_chosen_where_machines_multiply_them() -> None:
    nest, values = dot_nest(ORDERS[0], [(256, 512), (512, 256)])
    chosen = choose(nest, values, MACHINE)
    assert isinstance(chosen, Tiles)
    assert chosen.order.paired
    found = recognise(nest, chosen.order)
    assert found is not None
    assert "tdpbf16ps" in contraction.emit(found, chosen, MACHINE)[0]
    features = MACHINE.features
    for without in ("+amx-bf16", "+amx-tile", "+avx512bw"):
        other = replace(MACHINE, features=features.replace(without, f"-{without[1:]}"))
        assert not other.matrices
        chosen = choose(nest, values, other)
        assert isinstance(chosen, Tiles)
        assert not chosen.order.paired
    assert not replace(MACHINE, width=32).matrices


PROGRAM = """
import os, sys, threading
import numpy as np
import talweg as tw
from talweg.codegen import cpu
if sys.argv[1] == "denied":
    cpu.matrices_permitted = lambda: False
rng = np.random.default_rng(0)
x, w = (tw.tensor(rng.standard_normal(s, dtype=np.float32)).to(tw.bfloat16)
        for s in ((3, 150, 301), (301, 260)))
bias = tw.tensor(rng.standard_normal(260, dtype=np.float32)).to(tw.bfloat16)
want = np.maximum(x.float().numpy().astype("d") @ w.float().numpy() + bias.float().numpy(), 0)

def product():
    got = tw.relu(x @ w + bias).float().numpy()
    assert np.allclose(got, want, rtol=2e-2, atol=2e-1), abs(got - want).max()
    return got.tobytes()

first = product()
found = []
threads = [threading.Thread(target=lambda: found.append(product())) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
assert found == [first] * 3
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        os._exit(0 if product() == first else 1)
    assert os.waitpid(child, 0)[1] == 0
print(cpu.host().matrices, hash(first))
"""


def ran(tmp_path: Path, word: str, threads: int) -> list[str]:
    settings = {
        "TALWEG_NUM_THREADS": str(threads),
        "TALWEG_CACHE_DIR": str(tmp_path),
        "PYTHONHASHSEED": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_threads_and_forks_get_the_same_bits(tmp_path: Path) -> None:
    one, two = (ran(tmp_path, "asked", threads) for threads in (1, 2))
    assert one == two
    assert one[0] == str(host().matrices)


def test_a_process_without_permission_has_other_kernels(tmp_path: Path) -> None:
    assert ran(tmp_path, "asked", 2)[0] == str(host().matrices)
    assert ran(tmp_path, "denied", 2)[0] == "False"
