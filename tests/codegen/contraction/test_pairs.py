"""Products of short integers: pairs of them in int32, exact, for every machine and way to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.codegen import contraction
from talweg.codegen.cpu import compile_text
from talweg.loops.build import NestBuilder
from talweg.loops.nest import LoopNest
from talweg.loops.operand import Operand
from talweg.loops.scalar import Argument, Cast, Constant, Number, Scalar, Select
from talweg.ops.contract import Dot
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import choose
from talweg.schedule.contraction import Order, recognise
from talweg.schedule.contraction_pairs import is_short
from talweg.schedule.contraction_tiles import Tiles, ways
from talweg.schedule.target import Target
from tests.codegen.machine import launch, targets

WAYS = [
    Tiles(8, 3, "columns", "columns"),
    Tiles(5, 2, "columns", "columns", near=True, piece=384),
    Tiles(3, 1, "columns", "columns", piece=384, splits=4),
]
SIZES = [(37, 50, 70), (1, 1, 1), (64, 9, 33), (4, 0, 4), (5, 17, 3), (9, 901, 65)]
ORDERS = [((0, 1), (0, 1)), ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (1, 0))]
MACHINES = ["host", "short16", "avx2", "sse2"]


def machine(name: str) -> Target:
    if name not in targets() or not targets()[name].pairs:
        pytest.skip("not this machine")
    return targets()[name]


def drawn(dtype: DType, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any values, the least ones more often."""
    info, rng = np.iinfo(dtype.compute), np.random.default_rng(seed)
    values = rng.integers(info.min, info.max, shape, dtype.compute, endpoint=True)
    return np.where(rng.random(shape) < 0.3, info.min, values).astype(dtype.compute)


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x.astype(np.int64) @ y.astype(np.int64)).astype(np.int32)


def dot_nest(
    dtype: DType, orders: Sequence[tuple[int, ...]], shapes: Sequence[tuple[int, int]]
) -> tuple[LoopNest, Mapping[str, Number]]:
    """dtype @ dtype -> int32, of operands that lie in memory in any order."""
    nest = NestBuilder("dot")
    operands = []
    for n, (shape, order) in enumerate(zip(shapes, orders)):
        made = nest.input(f"x{n}", dtype, [shape[a] for a in order])
        sizes = tuple(made.shape[order.index(a)] for a in (0, 1))
        operands.append(
            Operand(
                dtypes.int32,
                sizes,
                lambda i, made=made, o=order: nest.cast(
                    made.read(tuple(i[a] for a in o)), dtypes.int32
                ),
            )
        )
    out = nest.output("out", dtypes.int32, [shapes[0][0], shapes[1][1]])
    nest.pointwise([out], Dot().lower(nest, *operands))
    made = nest.build()
    return made.nest, made.values


@pytest.mark.parametrize("orders", ORDERS, ids=str)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, dtypes.int8) for name in MACHINES), ("host", dtypes.uint8), ("host", dtypes.int16)],
    ids=str,
)
def test_products_of_short_integers_are_exact_in_every_way(
    name: str, orders: tuple[tuple[int, int], tuple[int, int]], dtype: DType
) -> None:
    target = machine(name)
    for swapped in (False, True):
        nest, _ = dot_nest(dtype, orders, [(5, 6), (6, 7)])
        found = recognise(nest, Order(swapped, paired=True))
        assert found is not None
        assert found.paired
        for n, (left, right) in enumerate(ways(found, target)):
            way = WAYS[n % len(WAYS)]
            order = Order(swapped, paired=True)
            tiles = replace(way, left=left, right=right, order=order)
            text, signature = contraction.emit(found, tiles, target)
            assert "pmadd" in text
            kernel = Kernel(compile_text(text, target), signature)
            for m, k, columns in SIZES:
                shapes = [(m, k), (k, columns)]
                x, y = drawn(dtype, shapes[0], m), drawn(dtype, shapes[1], columns)
                here, values = dot_nest(dtype, orders, shapes)
                assert here == nest
                given = [np.ascontiguousarray(a.transpose(o)) for a, o in zip((x, y), orders)]
                (got,) = launch(kernel, here, given, values)
                np.testing.assert_array_equal(got, product(x, y))


def test_only_what_fits_into_16_bits_is_paired() -> None:
    def as_int32(dtype: DType) -> Scalar:
        return Cast(Argument("a", dtype), dtypes.int32)

    zero = Constant("0", dtypes.int32)
    condition = Argument("c", dtypes.bool_)
    for dtype in (dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.bool_):
        assert is_short(as_int32(dtype))
        assert is_short(Select(condition, as_int32(dtype), zero))
    for dtype in (dtypes.uint16, dtypes.int64, dtypes.float32):
        assert not is_short(as_int32(dtype))
        assert not is_short(Select(condition, as_int32(dtype), zero))
    assert not is_short(Argument("a", dtypes.int32))
    assert not is_short(Constant("70000", dtypes.int32))
    nest, _ = dot_nest(dtypes.uint16, ORDERS[0], [(5, 6), (6, 7)])
    assert recognise(nest) is not None
    assert recognise(nest, Order(paired=True)) is None


def test_pairs_are_chosen_where_machines_multiply_them() -> None:
    nest, values = dot_nest(dtypes.int8, ORDERS[0], [(256, 512), (512, 256)])
    for name in MACHINES:
        if name in targets():
            chosen = choose(nest, values, targets()[name])
            assert isinstance(chosen, Tiles)
            assert chosen.order.paired == targets()[name].pairs
    other = Target("aarch64-unknown-linux-gnu", "generic", "+neon")
    assert not other.pairs
    chosen = choose(nest, values, other)
    assert isinstance(chosen, Tiles)
    assert not chosen.order.paired
