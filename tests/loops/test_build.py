"""The builder: what is structure and what is an argument, and where statements go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.loops.build import Lowered, NestBuilder, lower
from talweg.loops.functions import FUNCTIONS
from talweg.loops.interpret import interpret
from talweg.loops.nest import Guard, Let, Store, scalars, statements
from talweg.loops.operand import Operand, Point, flat, unflat
from talweg.loops.recipes import arg_sort, padded, reshaped
from talweg.loops.scalar import Index, Load, Scalar


@dataclass(frozen=True)
class Type:
    dtype: DType
    shape: tuple[int, ...]


def lowered(rule: Callable[..., Any], old: tuple[int, ...], new: tuple[int, ...]) -> Lowered:
    return lower("k", rule, [Type(d.float32, old)], [Type(d.float32, new)])


def test_the_kernel_does_not_depend_on_sizes_or_numbers() -> None:
    def pad(low: int) -> Callable[..., Point]:
        return lambda nest, x: padded(nest, x, (low, 0), (0, 0), 0)

    small, large = lowered(pad(1), (2, 3), (4, 3)), lowered(pad(7), (20, 30), (40, 30))
    assert small.nest == large.nest
    assert hash(small.nest) == hash(large.nest)
    assert large.values == {"x0_0": 20, "x0_1": 30, "out0_0": 40, "out0_1": 30, "a0": 7, "a1": 0}

    def sort(nest: NestBuilder, x: Operand) -> None:
        arg_sort(nest, x, 0)

    kernels = [
        lower("k", sort, [Type(d.int8, (n,))], [Type(d.int64, (n,))]).nest for n in (1, 5, 1000)
    ]
    assert kernels[0] == kernels[1] == kernels[2]


def test_reshape_divides_only_where_axes_are_joined_and_split() -> None:
    def rule(nest: NestBuilder, x: Operand) -> Point:
        return reshaped(nest, x, nest.outputs[0].shape)

    def divides(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
        nest = lowered(rule, old, new).nest
        return any(getattr(s, "function", "") in ("floordiv", "mod") for s in scalars(nest.body))

    assert not divides((6, 4), (2, 3, 4))  # one axis is split: it is addressed by a sum
    assert divides((2, 3, 4), (6, 4))  # joined axes are taken apart
    assert lowered(rule, (6, 4), (2, 3, 4)).nest == lowered(rule, (8, 4), (4, 2, 4)).nest


def test_a_guarded_read_guards_the_statements_it_needs() -> None:
    def rule(nest: NestBuilder, x: Operand) -> Point:
        square = Operand(x.dtype, x.shape, lambda i: nest.let(x[i] * x[i]))
        return lambda i: nest.within(square, [i[0] - 1], -1.0)

    nest = lowered(rule, (3,), (5,)).nest
    assert any(isinstance(s, Guard) for s in statements(nest.body))
    x = np.array([1, 2, 3], np.float32)
    (got,) = interpret(nest, [x], {"x0_0": 3, "out0_0": 5})
    assert got.tolist() == [-1, 1, 4, 9, -1]


def test_let_names_only_what_is_computed() -> None:
    nest = NestBuilder("f")
    x = nest.input("x", d.float32, (2,))
    out = nest.output("out", d.float32, x.shape)
    with nest.loop(x.shape[0]) as i:
        value = nest.let(nest.let(x[i]))
        nest.store(out, i, value * value + 1)
    body = list(statements(nest.build().nest.body))
    assert [type(s) for s in body][1:] == [Let, Store]


def test_numbers_take_the_dtype_of_their_neighbour() -> None:
    nest = NestBuilder("f")
    x = Load("x", (), d.uint8)
    assert nest.maximum(x, 3) == nest.maximum(x, nest.constant(3, d.uint8))
    assert (1 - x).dtype is d.uint8
    assert nest.select(x < 5, x, 0).dtype is d.uint8


def test_no_method_hides_a_function() -> None:
    assert not FUNCTIONS.keys() & set(dir(NestBuilder("f")))


def test_mistakes_are_named() -> None:
    nest = NestBuilder("f")
    x = nest.input("x", d.float32, (2, 3))
    with pytest.raises(AttributeError, match="'soften' is neither"):
        nest.soften(x[0, 0])
    with pytest.raises(GraphError, match="an operand of 2 axes was used with 1 indices"):
        x[Index("i")]
    nest.let(x[0, 0])
    with pytest.raises(GraphError, match="otherwise must follow a guard"):
        nest.otherwise().__enter__()
    with pytest.raises(GraphError, match="is not the extent of an operand"):
        nest.size(x.shape[0] + 1)


def test_unflat_undoes_flat() -> None:
    shape = (3, 4, 5)

    def rule(nest: NestBuilder) -> Callable[..., Scalar]:
        sizes = nest.numbers(shape)
        return lambda i: flat(unflat(i[0], sizes), sizes)

    made = lower("k", rule, [], [Type(d.int64, (60,))])
    (got,) = interpret(made.nest, [], made.values)
    assert got.tolist() == list(range(60))
