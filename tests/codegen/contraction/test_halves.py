"""Products that leave out what is beside the diagonal: every schedule gives the others' results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.ops.halves import COLUMN, DEPTH, ROW, HalfDot
from talweg.schedule.contraction import Order, recognise
from talweg.schedule.contraction_work import Work
from tests.codegen.contraction.nests import Laid
from tests.codegen.contraction.test_kernels import (
    ORDERS,
    SIZES,
    WAYS,
    check,
    drawn,
    kernel_of,
    possible,
    reference,
    run,
)
from tests.codegen.machine import targets

PAIRS = [(a, b) for a in (ROW, COLUMN, DEPTH) for b in (ROW, COLUMN, DEPTH) if a != b]


def zeros_beside(arrays: list[np.ndarray], low: int, high: int) -> list[np.ndarray]:
    """The operands, with zeros where the constraint of the op wants them."""
    x, y = arrays
    if {low, high} == {ROW, DEPTH}:
        return [np.tril(x) if low == DEPTH else np.triu(x), y]
    if {low, high} == {COLUMN, DEPTH}:
        return [x, np.triu(y) if low == DEPTH else np.tril(y)]
    part = np.tril if low == COLUMN else np.triu  # products of such matrices are such matrices
    return [part(x), part(y)]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("low", "high"), PAIRS)
def test_every_way_leaves_out_the_same(low: int, high: int, swapped: bool) -> None:
    target, shapes, op = targets()["host"], [(5, 6), (6, 7)], HalfDot(low, high)
    count = 0
    for operands in ORDERS:
        orders, order = [*operands, (0, 1)], Order(swapped)
        laid = Laid(op, dtypes.float32, shapes, orders)
        found = recognise(laid.nest, order)
        if found is None:
            continue
        for n, (left, right) in enumerate(possible(found, target)):
            tiles = replace(WAYS[n % len(WAYS)], left=left, right=right, order=order)
            assert Work(found, tiles, target).cut is not None
            kernel, count = kernel_of(laid, tiles, target), count + 1
            for m, k, columns in SIZES:
                drawn_here = drawn(np.random.default_rng(m + k), [(m, k), (k, columns)])
                arrays = zeros_beside(drawn_here, low, high)
                here = Laid(op, dtypes.float32, [(m, k), (k, columns)], orders)
                check(run(kernel, here, arrays), reference(here, arrays), arrays, k)
    assert count


def test_other_sums_of_chosen_products_are_no_such_contractions() -> None:
    laid = Laid(HalfDot(DEPTH, ROW), dtypes.float32, [(5, 6), (6, 7)])
    found = recognise(laid.nest)
    assert found is not None
    row, depth = found.rows[0].index, found.depth[0].index
    assert found.within == (depth, row)
    batch = Laid(HalfDot(DEPTH, ROW), dtypes.float32, [(2, 5, 6), (2, 6, 7)])
    found = recognise(batch.nest)
    assert found is not None
    assert len(found.batch) == len(found.rows) == 1
