"""From samples to a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError


class Point(NamedTuple):
    x: Any
    name: Any


def test_numbers_get_the_dtypes_of_pytorch() -> None:
    assert data.default_collate([1, 2]).dtype is tw.int64
    assert data.default_collate([1.0, 2]).dtype is tw.float64
    assert data.default_collate([True, False]).dtype is tw.bool
    assert data.default_collate([np.float32(1), np.float32(2)]).dtype is tw.float32


def test_arrays_and_tensors_are_stacked() -> None:
    rows = [np.arange(3, dtype=np.int16) + i for i in range(2)]
    for batch in (rows, [tw.from_numpy(row) for row in rows]):
        joined = data.default_collate(batch)
        assert joined.dtype is tw.int16
        np.testing.assert_array_equal(joined.numpy(), np.stack(rows))


def test_gradients_flow_through_collated_tensors() -> None:
    a, b = tw.ones(2, requires_grad=True), tw.zeros(2, requires_grad=True)
    (data.default_collate([a, b]) * tw.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert a.grad.tolist() == [1.0, 2.0]
    assert b.grad.tolist() == [3.0, 4.0]


def test_bfloat16_keeps_its_dtype() -> None:
    joined = data.default_collate([tw.ones(2, dtype=tw.bfloat16)] * 3)
    assert joined.dtype is tw.bfloat16
    assert joined.shape == (3, 2)


def test_structure_is_kept() -> None:
    sample = {"p": Point(np.float32(1), "a"), "l": [1, (2.0, b"x")], "none": [], "s": "text"}
    joined = data.default_collate([sample, sample, sample])
    assert list(joined) == ["p", "l", "none", "s"]
    assert isinstance(joined["p"], Point)
    assert joined["p"].x.tolist() == [1.0, 1.0, 1.0]
    assert joined["p"].name == ("a", "a", "a")
    number, pair = joined["l"]
    assert number.tolist() == [1, 1, 1]
    assert pair[1] == (b"x",) * 3
    assert joined["none"] == []
    assert joined["s"] == ["text"] * 3


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ([], "empty batch"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"shape \(2, 3\) once and \(2, 4\) elsewhere"),
        ([(1, np.zeros(2)), (1, np.zeros(3))], r"sample\[1\] has shape \(2,\)"),
        ([{"a": 1}, {"b": 1}], r"\['a'\] once and \['b'\] elsewhere"),
        ([{"a": {"b": None}}], r"sample\['a'\]\['b'\] is NoneType"),
        ([(1, 2), (1, 2, 3)], "2 parts once and 3 elsewhere"),
        ([1, None], "number in the first sample .* NoneType"),
        ([np.array(["a"])], "<U1"),
        ([object()], "is object"),
    ],
)
def test_what_cannot_be_joined_is_named(batch: list[Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        data.default_collate(batch)


def test_convert_turns_arrays_into_tensors_and_leaves_the_rest() -> None:
    words = np.array(["a", "b"])
    found = data.default_convert({"p": Point(np.arange(2), "a"), "n": [np.float64(2), 3, words]})
    assert found["p"].x.tolist() == [0, 1]
    assert found["p"].name == "a"
    assert found["n"][0].dtype is tw.float64
    assert found["n"][1] == 3
    assert found["n"][2] is words
