"""The loop nest of every op against its reference: see `cases.py`.

Every op on its own samples; then what samples do not show: NaN, infinities and integer edges,
indices out of range, and that no size and no number of the user stands in a nest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, IndexOutOfRange
from talweg.base.shapes import Shape
from talweg.ir.op import INPUT, Op, Pick, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.loops.nest import LoopNest
from talweg.ops import (
    OPS,
    arithmetic,
    contract,
    control,
    effect,
    generate,
    index,
    recurrence,
    reduce,
    scan,
    view,
    window,
)
from talweg.ops.convert import Cast
from talweg.ops.kinds import Contract, Elementwise, Routine
from tests.suite.cases import Case, cases_of, check_nest, lowered, run_nest, settled

F32, I64 = dtypes.float32, dtypes.int64
NAN, INF = np.nan, np.inf

CASES = [
    pytest.param(
        case,
        marks=[pytest.mark.slow]
        if isinstance(case.op, Contract) and case.number > 1 and case.dtype is not F32
        else [],
        id=str(case),
    )
    for op in OPS
    if op.lowered
    for case in cases_of(op)
]


@pytest.mark.parametrize("case", CASES)
def test_nest_agrees_with_reference(case: Case) -> None:
    check_nest(case)


def test_only_ops_that_no_kernel_computes_have_no_nest() -> None:
    others = {op for op in OPS if not op.lowered and not issubclass(op, Routine)}
    assert others == {control.Call, recurrence.Recurrence, effect.HostCallback}
    for op in (INPUT, Pick(0)):
        assert not op.lowered
        with pytest.raises(GraphError, match=f"{op.name()} has no loop nest"):
            op.lower(None)


# -- NaN, infinities, edges


def edges(dtype: DType) -> list[complex]:
    if dtype is dtypes.bool_:
        return [False, True]
    if dtype.is_complex:
        return [0, 1, -1, 1j, -2.5j, 0.5 + 3j, -20 - 0.25j]
    if dtype.is_floating_point:
        return [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1.5, -2.5, 300.0, -40.0, 3e-5]
    info = dtypes.iinfo(dtype)
    return [info.min, info.max, 0, 1, 2, 7, info.max - 1, -1 if info.min else 3]


@pytest.mark.parametrize(
    "op", [o for o in OPS if issubclass(o, Elementwise)], ids=lambda o: o.name()
)
def test_elementwise_nests_at_edges(op: type[Op]) -> None:
    first, *_ = op.samples()
    if isinstance(first.op, index.ResolveIndex):
        return  # its range is tested below
    for dtype in first.dtypes:
        columns = [
            edges(dtypes.bool_ if getattr(i, "dtype", None) is dtypes.bool_ else dtype)
            for i in first.inputs
        ]
        rows = zip(*itertools.product(*columns), strict=True)
        values = []
        for given, row in zip(first.inputs, rows, strict=True):
            fixed = getattr(given, "dtype", None) or dtype
            values.append((settled(np.array(row), fixed), fixed))
        check_nest(Case(first, dtype, 0), values)


@pytest.mark.parametrize("target", dtypes.ALL, ids=lambda d: d.name)
def test_casts_at_edges(target: DType) -> None:
    for source in dtypes.ALL:
        known = [
            v for v in edges(source) if target.is_inexact or target is dtypes.bool_ or abs(v) < 8
        ]
        if not target.is_signed and target is not dtypes.bool_:
            known = [v for v in known if np.real(v) >= 0]
        values = settled(np.array(known), source)
        sample = Sample(Cast(target), (values,), (source,), tolerance=0)
        check_nest(Case(sample, source, 0), [(values, source)])


ROWS = np.array(
    [[1, 5, 5, 0, 2], [3, NAN, 9, NAN, 1], [-INF] * 5, [INF, -INF, NAN, 0, -1], [NAN] * 5]
)
SORTED = np.array([[1, 2, 2, NAN, NAN], [-INF, 0, 0, 1, INF], [NAN] * 5])
EVEN = np.array([[1, 1, NAN, 2, 5, 9], [NAN, NAN, -INF, -INF, 0, -0.0]])
LOOKED_UP = np.array([[NAN, 2, -INF], [INF, NAN, 0], [NAN, 1, INF]])
PLACES = np.array([[0, 3, 1, 1, 4], [0, 0, 1, 2, 4]])
POOLING = (
    ((2,), (1,), ((0, 0),), (1,)),
    ((3,), (2,), ((1, 1),), (1,)),
    ((2, 2), (1, 1), ((1, 1), (1, 0)), (1, 1)),
    ((2, 3), (2, 1), ((0, 1), (2, 2)), (2, 1)),
)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        *((op, (ROWS,)) for op in (reduce.ReduceMax((1,)), reduce.ReduceMin((0, 1)))),
        *((op, (ROWS,)) for op in (reduce.ArgMax((1,)), reduce.ArgMin((1,)), reduce.ArgMax((0,)))),
        *((op, (ROWS,)) for op in (scan.CumArgMax(1), scan.CumArgMin(1), scan.CumArgMin(0))),
        *((scan.ArgSort(axis, down), (ROWS,)) for axis in (0, 1) for down in (False, True)),
        *((index.SearchSorted(right), (SORTED, LOOKED_UP)) for right in (False, True)),
        *((op(*how), (ROWS,)) for how in POOLING for op in (window.WindowMax, window.WindowArgMax)),
        (window.WindowMaxGrad((2,), (2,), ((0, 0),), (1,)), (EVEN, EVEN[:, ::2])),
        *((op(0), (ROWS, PLACES, -ROWS[:2])) for op in (index.MaxAlong, index.MinAlong)),
        (scan.LinearRecurrence(1), (ROWS, ROWS[::-1])),
        (reduce.ReduceSum((1,)), (np.zeros((2, 0)),)),
        (reduce.ReduceProd((0,)), (np.zeros((0, 3)),)),
        (scan.ArgSort(0, False), (np.zeros((0, 2)),)),
        (index.Take(0), (np.zeros((3, 0)), PLACES[:, :3] % 3)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Op) else "",
)
def test_nests_with_nan_infinities_and_no_elements(op: Op, operands: Sequence[np.ndarray]) -> None:
    for dtype in dtypes.FLOATS:
        values = [(settled(x, dtype), dtype) if x.dtype.kind == "f" else (x, I64) for x in operands]
        check_nest(Case(Sample(op, tuple(operands)), dtype, 0), values)


# -- Failures


@pytest.mark.parametrize(
    ("op", "arrays"),
    [
        (index.ResolveIndex(1, 4), [np.array([0, -5])]),
        (index.ResolveIndex(1, 4), [np.array([4, 0])]),
        (index.Take(1), [np.zeros((2, 3)), np.array([0, 3])]),
        (index.TakeAlong(0), [np.zeros((2, 3)), np.array([[0, -1, 0]])]),
        (index.AddAt(0), [np.zeros((2, 3)), np.array([2]), np.zeros((1, 3))]),
        (index.PutAlong(1), [np.zeros((2, 3)), np.array([[3]]), np.zeros((1, 1))]),
    ],
    ids=lambda value: repr(value) if isinstance(value, Op) else "",
)
def test_nest_and_reference_refuse_an_index_in_the_same_words(
    op: Op, arrays: list[np.ndarray]
) -> None:
    values = [(a, dtypes.from_numpy(a.dtype)) for a in arrays]
    made = lowered(op, [tensor_type(d, a.shape) for a, d in values])
    with pytest.raises(IndexOutOfRange) as in_nest:
        run_nest(made.nest, arrays, made.values)
    with pytest.raises(IndexOutOfRange) as in_reference:
        op.reference(*arrays)
    assert str(in_nest.value) == str(in_reference.value)


# -- What is structure, and what is a number

Use: TypeAlias = tuple[Op, tuple[Shape, ...]]


def nest_of(use: Use) -> LoopNest:
    """The nest on float32 operands; the second one is int64 for ops that take an index."""
    op, shapes = use
    indexed = isinstance(op, index.Take | index.TakeAlong | index.AddAt | index.MaxAlong)
    types: list[TensorType] = [tensor_type(F32, shape) for shape in shapes]
    if indexed:
        types[1] = types[1].with_dtype(I64)
    if isinstance(op, generate.RandomBits):
        types = [t.with_dtype(dtypes.uint64) for t in types]
    if isinstance(op, index.ResolveIndex):
        types = [t.with_dtype(I64) for t in types]
    return lowered(op, types).nest


SAME: list[tuple[Use, Use]] = [
    ((arithmetic.Add(), ((3, 4), ())), (arithmetic.Add(), ((1, 9), ()))),
    ((reduce.ReduceSum((1,)), ((3, 4, 2),)), (reduce.ReduceSum((1,)), ((1, 9, 5),))),
    ((reduce.ArgMax((0,)), ((3, 4),)), (reduce.ArgMax((0,)), ((9, 1),))),
    ((view.Reshape((2, 6)), ((3, 4),)), (view.Reshape((4, 15)), ((10, 6),))),
    ((view.Reshape((12,)), ((3, 4),)), (view.Reshape((60,)), ((10, 6),))),
    ((view.Permute((2, 0, 1)), ((2, 3, 4),)), (view.Permute((2, 0, 1)), ((1, 1, 5),))),
    ((view.Expand((2, 3, 4)), ((3, 1),)), (view.Expand((5, 1, 7)), ((1, 1),))),
    (
        (view.Slice((1, 0), (3, 5), (1, 2)), ((4, 5),)),
        (view.Slice((0, 3), (4, 9), (1, 2)), ((4, 9),)),
    ),
    (
        (view.SetSlice((1, 0), (3, 5), (1, 2)), ((4, 5), (2, 3))),
        (view.SetSlice((0, 3), (4, 9), (1, 2)), ((4, 9), (4, 3))),
    ),
    ((view.Flip((0,)), ((2, 3),)), (view.Flip((0,)), ((7, 1),))),
    (
        (view.Pad((1, 0), (2, 1), (0, 2)), ((3, 4), ())),
        (view.Pad((-1, 5), (0, 0), (0, 2)), ((7, 2), ())),
    ),
    ((view.Concat(1), ((2, 3), (2, 0), (2, 2))), (view.Concat(1), ((1, 1), (1, 5), (1, 2)))),
    ((contract.Dot(), ((3, 4), (4, 2))), (contract.Dot(), ((1, 9), (9, 7)))),
    (
        (contract.Conv((2,), ((2, 1),), (2,), 2), ((2, 4, 6), (2, 2, 3))),
        (contract.Conv((2,), ((1, 4),), (2,), 3), ((1, 9, 8), (6, 3, 2))),
    ),
    (
        (contract.Conv((1,), ((0, 0),), (1,), 1), ((2, 2, 5), (3, 2, 2))),
        (contract.Conv((1,), ((0, 0),), (1,), 1), ((1, 3, 9), (1, 3, 4))),
    ),
    (
        (contract.ConvInputGrad((2,), ((2, 1),), (2,), 2, (6,)), ((2, 2, 3), (2, 2, 3))),
        (contract.ConvInputGrad((2,), ((1, 4),), (2,), 3, (8,)), ((1, 6, 6), (6, 3, 2))),
    ),
    (
        (contract.ConvWeightGrad((2,), ((2, 1),), (2,), 2, (3,)), ((2, 4, 6), (2, 2, 3))),
        (contract.ConvWeightGrad((2,), ((1, 4),), (2,), 3, (2,)), ((1, 9, 8), (1, 6, 6))),
    ),
    *(
        ((op((3,), (2,), ((1, 1),), (1,)), ((2, 7),)), (op((3,), (2,), ((2, 0),), (1,)), ((4, 9),)))
        for op in (window.WindowMax, window.WindowArgMax, window.WindowSum)
    ),
    (
        (window.WindowMaxGrad((2,), (2,), ((0, 0),), (1,)), ((2, 4), (2, 2))),
        (window.WindowMaxGrad((2,), (2,), ((0, 0),), (1,)), ((1, 10), (1, 5))),
    ),
    (
        (window.WindowSpread((3,), (2,), ((1, 1),), (1,), (7,)), ((2, 4),)),
        (window.WindowSpread((3,), (2,), ((2, 0),), (1,), (9,)), ((4, 5),)),
    ),
    ((index.Take(1), ((2, 4, 3), (2, 3))), (index.Take(1), ((1, 9, 1), (5, 1)))),
    ((index.TakeAlong(0), ((4, 3), (2, 3))), (index.TakeAlong(0), ((9, 1), (5, 1)))),
    ((index.AddAt(0), ((4, 3), (2,), (2, 3))), (index.AddAt(0), ((9, 1), (5,), (5, 1)))),
    ((index.MaxAlong(0), ((4, 3), (2, 3), (2, 3))), (index.MaxAlong(0), ((9, 1), (5, 1), (5, 1)))),
    ((index.SearchSorted(True), ((2, 4), (2, 3))), (index.SearchSorted(True), ((1, 99), (1, 1)))),
    ((index.ResolveIndex(0, 4), ((3,),)), (index.ResolveIndex(0, 9), ((5,),))),
    ((scan.CumSum(1), ((3, 4),)), (scan.CumSum(1), ((1, 9),))),
    ((scan.CumArgMax(0), ((3, 4),)), (scan.CumArgMax(0), ((1, 9),))),
    ((scan.ArgSort(1, True), ((3, 4),)), (scan.ArgSort(1, True), ((1, 99),))),
    ((generate.Iota((3, 4), 1, F32), ()), (generate.Iota((9, 1), 1, F32), ())),
    ((generate.RandomBits((3, 4)), ((), ())), (generate.RandomBits((9, 1)), ((), ()))),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=lambda use: repr(use[0]))
def test_sizes_and_numbers_do_not_stand_in_a_nest(one: Use, other: Use) -> None:
    assert nest_of(one) == nest_of(other)


DIFFERENT: list[tuple[Use, Use]] = [
    ((reduce.ReduceSum((1,)), ((3, 4),)), (reduce.ReduceSum((0,)), ((3, 4),))),
    ((view.Reshape((2, 6)), ((3, 4),)), (view.Reshape((3, 2, 2)), ((3, 4),))),
    ((view.Expand((2, 3)), ((2, 1),)), (view.Expand((2, 3)), ((1, 3),))),
    ((view.Slice((0,), (4,), (1,)), ((4,),)), (view.Slice((0,), (4,), (2,)), ((4,),))),
    (
        (contract.Conv((1,), ((0, 0),), (1,), 1), ((2, 2, 5), (3, 2, 2))),
        (contract.Conv((1,), ((1, 0),), (1,), 1), ((2, 2, 5), (3, 2, 2))),
    ),
    (
        (window.WindowMax((3,), (2,), ((0, 0),), (1,)), ((7,),)),
        (window.WindowMax((2,), (2,), ((0, 0),), (1,)), ((7,),)),
    ),
    ((scan.ArgSort(0, True), ((3,),)), (scan.ArgSort(0, False), ((3,),))),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=lambda use: repr(use[0]))
def test_structure_stands_in_a_nest(one: Use, other: Use) -> None:
    assert nest_of(one) != nest_of(other)


def test_joining_many_operands_stays_shallow() -> None:
    many = [(2, 1)] * 300
    made = lowered(view.Concat(1), [tensor_type(F32, shape) for shape in many])
    rows = [np.full((2, 1), n, np.float32) for n in range(300)]
    (joined,) = run_nest(made.nest, rows, made.values)
    np.testing.assert_array_equal(joined, np.tile(np.arange(300), (2, 1)))
