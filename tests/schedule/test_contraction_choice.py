"""Schedules of contractions: what is chosen for shapes that need a way of their own."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.loops.text import parse
from talweg.ops.contract import Conv, ConvInputGrad, Dot
from talweg.schedule import contraction_choice
from talweg.schedule.contraction import Order, recognise
from talweg.schedule.contraction_choice import choose_tiles, priced
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.target import Target
from tests.codegen.contraction.nests import Laid

WIDE = Target("x86_64-unknown-linux-gnu", "", "+avx512bw,+avx512f,+avx512vl,+fma", width=64)
NHWC, OHWI = (0, 2, 3, 1), (0, 2, 3, 1)


def product(m: int, k: int, n: int, turned: bool = False) -> Tiles | None:
    orders = [(0, 1), (1, 0) if turned else (0, 1), (0, 1)]
    laid = Laid(Dot(), dtypes.float32, [(m, k), (k, n)], orders)
    return chosen(laid)


def chosen(laid: Laid) -> Tiles | None:
    found = recognise(laid.nest)
    assert found is not None
    values = {a.name: v for a, v in zip(laid.nest.arguments, laid.values, strict=True)}
    return choose_tiles(found, values, WIDE)


def test_few_rows_go_through_memory_in_its_order() -> None:
    for rows in (1, 8):
        tiles = product(rows, 2048, 2048)
        assert tiles is not None
        assert tiles.right == "direct"
        assert tiles.piece == 32
        assert tiles.splits > 1


def test_a_matrix_that_stays_in_the_first_caches_is_read_in_place() -> None:
    for shape in ((128, 128, 128), (256, 256, 256), (33, 257, 129), (64, 4096, 64)):
        tiles = product(*shape)
        assert tiles is not None
        assert tiles.right == "direct"
        assert not tiles.piece


def test_few_rows_meet_copies_that_every_item_makes_of_rows_that_lie_apart() -> None:
    for shape in ((32, 256, 1024), (32, 1024, 256), (128, 512, 512), (64, 64, 4096)):
        tiles = product(*shape)
        assert tiles is not None
        assert tiles.packed
        assert tiles.near


def test_a_gradient_by_weights_reads_its_rows_across_memory_in_short_pieces() -> None:
    for m, k, n in ((256, 2048, 1024), (384, 1024, 1536)):
        orders = [(1, 0), (0, 1), (0, 1)]
        tiles = chosen(Laid(Dot(), dtypes.float32, [(m, k), (k, n)], orders))
        assert tiles is not None
        assert (tiles.left, tiles.piece) == ("rows", 256)


def test_rows_in_two_lines_cost_little_where_a_piece_lies_in_few_pages() -> None:
    for columns, rows in ((256, 6), (320, 6), (1024, 8)):
        shapes = [(columns, 2048), (2048, 1024)]
        laid = Laid(Dot(), dtypes.float32, shapes, [(1, 0), (0, 1), (1, 0)])
        found = recognise(laid.nest)
        assert found is not None
        values = {a.name: v for a, v in zip(laid.nest.arguments, laid.values, strict=True)}
        costs = priced(found, values, WIDE)
        assert min(costs, key=lambda tiles: costs[tiles]).rows == rows


def test_few_rows_across_memory_meet_one_copy_for_all_items() -> None:
    for rows, near in ((384, False), (2048, True)):
        laid = Laid(Dot(), dtypes.float32, [(rows, 1024), (1024, 384)], [(1, 0), (0, 1), (0, 1)])
        tiles = chosen(laid)
        assert tiles is not None
        assert (tiles.left, tiles.near) == ("rows", near)


def test_one_row_meets_rows_in_the_ordinary_loops() -> None:
    assert product(1, 1024, 256, turned=True) is None
    assert product(64, 1024, 256, turned=True) is not None


def test_a_large_operand_is_copied_part_by_part() -> None:
    tiles = product(64, 64, 25088)
    assert tiles is None or tiles.near or tiles.right == "direct"


def test_rows_of_one_place_in_all_images_are_neighbours_where_that_spares_taps() -> None:
    how = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    laid = Laid(
        ConvInputGrad(*how, (12, 12)),
        dtypes.float32,
        [(64, 50, 8, 8), (50, 20, 5, 5)],
        (NHWC, OHWI, NHWC),
    )
    tiles = chosen(laid)
    assert tiles is not None
    assert tiles.left == "taps"
    assert tiles.order.apart


def test_single_channels_are_no_contraction() -> None:
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 0)
    laid = Laid(Conv(*how), dtypes.float32, [(2, 16, 9, 9), (16, 1, 3, 3)], None)
    found = recognise(laid.nest)
    if found is not None:
        values = {a.name: v for a, v in zip(laid.nest.arguments, laid.values, strict=True)}
        assert not priced(found, values, WIDE)


def test_orders_that_make_no_difference_are_not_listed() -> None:
    laid = Laid(Dot(), dtypes.float32, [(3, 4), (4, 5)], None)
    assert recognise(laid.nest, Order(apart=True)) is None
    assert np.prod(laid.shape) == 15


PAIRED = """
def conv(
    n: int64, m: int64, y: int64, c: int64, h: int64, w: int64, a: int64, b: int64,
    x0: input[float32, m, c, h, w],
    x1: input[float32, n, a, b, 4 * c],
    out0: output[float32, n, m, y],
):
    for i0 in parallel(n):
        for i1 in parallel(m):
            for i2 in parallel(y):
                s: var[float32] = float32(0.0)
                for k0 in reduction(c):
                    for k1 in reduction(h):
                        for k2 in reduction(w):
                            s.add(x1[i0, i2 + k1 // 2, k2 // 2, k1 % 2 * c * 2 + k2 % 2 * c + k0] * x0[i1, k0, k1, k2])
                out0[i0, i1, i2] = s
"""  # noqa: E501


def test_places_without_conditions_are_no_taps() -> None:
    found = recognise(parse(PAIRED))
    assert found is not None
    sizes = {"n": 8, "m": 64, "y": 50, "c": 32, "h": 7, "w": 7, "a": 54, "b": 4}
    tried = priced(found, sizes, WIDE)
    assert tried
    assert all(tiles.left != "taps" for tiles in tried)


def test_depths_that_lie_in_few_cache_sets_are_taken_in_pieces() -> None:
    for m, k, n in ((512, 1024, 512), (1024, 1568, 512), (512, 2048, 1024)):
        laid = Laid(Dot(), dtypes.float32, [(m, k), (k, n)], [(1, 0), (0, 1), (0, 1)])
        tiles = chosen(laid)
        assert tiles is not None
        assert tiles.piece
        assert not tiles.near


def test_a_kernel_that_is_there_serves_other_rows_where_that_costs_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contraction_choice, "_MADE", {})
    shapes, orders = [(2, 24), (24, 40)], [(0, 1), (0, 1), (0, 1)]
    few, large = product(2, 24, 40), product(512, 512, 512)
    assert few is not None
    assert product(5, 24, 40) != few
    contraction_choice.keep_made(Laid(Dot(), dtypes.float32, shapes, orders).nest, few)
    assert product(5, 24, 40) == few
    assert product(512, 512, 512) == large
