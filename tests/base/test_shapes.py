"""Shapes against NumPy: broadcasting, axes, strides, and when a reshape is a view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from talweg.base import shapes
from talweg.base.errors import IndexOutOfRange, ShapeError

sizes = st.lists(st.sampled_from([0, 1, 1, 2, 3, 4]), max_size=4).map(tuple)


@given(st.lists(sizes, min_size=1, max_size=3))
def test_broadcasting_is_numpys(given_shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*given_shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="do not broadcast"):
            shapes.broadcast_shapes(*given_shapes)
    else:
        assert shapes.broadcast_shapes(*given_shapes) == expected


def test_a_broadcasting_error_names_shapes_sizes_and_dimension() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2, 4\).*size 3 meets 4 at dimension 1"):
        shapes.broadcast_shapes((2, 3), (2, 4))


@given(sizes)
def test_contiguous_strides_lay_elements_in_row_major_order(shape: tuple[int, ...]) -> None:
    strides = shapes.contiguous_strides(shape)
    offsets = [
        sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(shape)
    ]
    assert offsets == list(range(shapes.size_of(shape)))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    """An array seen through a permutation, slices, reversals or expansions; and a new shape."""
    shape = draw(st.lists(st.integers(1, 6), min_size=0, max_size=4))
    array = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    index = tuple(
        slice(draw(st.integers(0, max(0, n - 1))), n, draw(st.integers(1, 2))) for n in array.shape
    )
    array = array[(*index, ...)]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (draw(st.integers(1, 3)), *array.shape))
    factors = draw(st.permutations(_prime_factors(array.size) + [1] * draw(st.integers(0, 2))))
    new: list[int] = []
    for factor in factors:
        if new and draw(st.booleans()):
            new[-1] *= factor
        else:
            new.append(factor)
    return array, tuple(new)


def _prime_factors(n: int) -> list[int]:
    out, p = [], 2
    while n > 1:
        while n % p == 0:
            out.append(p)
            n //= p
        p += 1
    return out


@given(layouts())
def test_view_strides_exist_exactly_where_numpy_needs_no_copy(
    case: tuple[np.ndarray, tuple[int, ...]],
) -> None:
    array, new = case
    width = array.itemsize
    found = shapes.view_strides(array.shape, tuple(s // width for s in array.strides), new)
    assert (found is not None) is np.may_share_memory(array, array.reshape(new))
    if found is not None:
        seen = as_strided(array, new, [s * width for s in found])
        np.testing.assert_array_equal(seen, array.reshape(new))


@pytest.mark.parametrize(("shape", "new"), [((0, 3), (3, 0)), ((2, 0), (0,)), ((0,), (5, 0, 2))])
def test_empty_arrays_always_have_a_view(shape: tuple[int, ...], new: tuple[int, ...]) -> None:
    strides = shapes.view_strides(shape, shapes.contiguous_strides(shape), new)
    assert strides == shapes.contiguous_strides(new)


@given(sizes, st.integers(-6, 6))
def test_axes_count_from_either_end(shape: tuple[int, ...], axis: int) -> None:
    rank = len(shape)
    span = max(rank, 1)
    if -span <= axis < span:
        assert shapes.normalize_axis(axis, rank) == list(range(span))[axis]
    else:
        with pytest.raises(IndexOutOfRange, match=f"dimension {axis} .* {-span} to {span - 1}"):
            shapes.normalize_axis(axis, rank)


def test_several_axes_are_sorted_and_distinct() -> None:
    assert shapes.normalize_axes(None, 3) == (0, 1, 2)
    assert shapes.normalize_axes(-1, 3) == (2,)
    assert shapes.normalize_axes([2, -3], 3) == (0, 2)
    assert shapes.normalize_axes((), 3) == ()
    assert shapes.normalize_axes(-1, 0) == ()
    with pytest.raises(ShapeError, match="twice"):
        shapes.normalize_axes((1, -2), 3)


@given(sizes, st.integers(0, 3))
def test_one_unknown_size_is_found_as_numpy_finds_it(shape: tuple[int, ...], place: int) -> None:
    wanted = list(shape)
    wanted.insert(min(place, len(wanted)), -1)
    array = np.empty(12)
    try:
        expected = array.reshape(wanted).shape
    except ValueError:
        with pytest.raises(ShapeError):
            shapes.infer_size(wanted, 12)
    else:
        assert shapes.infer_size(wanted, 12) == expected


@pytest.mark.parametrize("wrong", [(-1, -1), (-2, 3), (5,), (0, -1)])
def test_impossible_sizes_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="shape"):
        shapes.infer_size(wrong, 12)
